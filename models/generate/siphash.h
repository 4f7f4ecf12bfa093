// SipHash: a keyed hash. Without the key nobody can make two inputs that collide, so hostile users
// can neither flood a table nor get at another's cache entries.
//
// Aumasson, Bernstein: "SipHash: a fast short-input PRF", 2012; the 128-bit variant as in the
// authors' reference. 2 compression and 4 finalisation rounds.
//
// Pure functions; any thread.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

namespace hearth::generate {

using SipKey = std::array<std::uint64_t, 2>;

// From the system's source of random numbers.
SipKey random_sip_key();

std::uint64_t siphash64(const SipKey& key, std::span<const std::byte> bytes);
// The first 8 bytes of the reference's output, then the others, both read as little endian.
std::array<std::uint64_t, 2> siphash128(const SipKey& key, std::span<const std::byte> bytes);

}  // namespace hearth::generate
