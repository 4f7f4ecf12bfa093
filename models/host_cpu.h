// The processor we run on: what it is called, how many threads it has, what it only claims to do.
//
// Any thread, except avoid_broken_amx().
#pragma once

#include <cstdint>
#include <string>

namespace hearth::models {

// As /proc/cpuinfo calls it; "CPU" where it says nothing.
std::string processor_name();

// `wanted`, or one for each processor when it is 0.
std::uint32_t compute_threads(std::uint32_t wanted);

// Some hypervisors announce AMX but hide CPUID leaf 1DH, which says how large a tile is. oneDNN
// then configures tiles of no size, and the first bf16 product ends the process by SIGILL (seen
// with oneDNN 3.x under Firecracker on Sapphire Rapids). This tells oneDNN to do without AMX there;
// who has set ONEDNN_MAX_CPU_ISA keeps the last word. Returns whether AMX is broken. Call it before
// oneDNN's first use and while no other thread reads the environment.
bool avoid_broken_amx();

}  // namespace hearth::models
