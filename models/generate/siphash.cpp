#include "models/generate/siphash.h"

#include <bit>
#include <cstring>
#include <random>

namespace hearth::generate {
namespace {

class State {
 public:
  State(const SipKey& key, bool wide)
      : v0_(0x736f6d6570736575U ^ key[0]),
        v1_(0x646f72616e646f6dU ^ key[1] ^ (wide ? 0xEEU : 0U)),
        v2_(0x6c7967656e657261U ^ key[0]),
        v3_(0x7465646279746573U ^ key[1]) {}

  void absorb(std::span<const std::byte> bytes) {
    std::size_t at = 0;
    for (; at + 8 <= bytes.size(); at += 8) {
      std::uint64_t word = 0;  // little endian, as every platform hearth runs on
      std::memcpy(&word, bytes.data() + at, sizeof word);
      add(word);
    }
    std::uint64_t last = std::uint64_t{bytes.size() & 0xFFU} << 56;
    for (std::size_t i = at; i < bytes.size(); ++i)
      last |= std::to_integer<std::uint64_t>(bytes[i]) << 8 * (i - at);
    add(last);
  }

  std::uint64_t finish(std::uint64_t mark) {
    v2_ ^= mark;
    return finish_more(0);
  }

  std::uint64_t finish_more(std::uint64_t mark) {
    v1_ ^= mark;
    for (int round = 0; round < 4; ++round) mix();
    return v0_ ^ v1_ ^ v2_ ^ v3_;
  }

 private:
  void add(std::uint64_t word) {
    v3_ ^= word;
    mix();
    mix();
    v0_ ^= word;
  }

  void mix() {
    v0_ += v1_;
    v1_ = std::rotl(v1_, 13) ^ v0_;
    v0_ = std::rotl(v0_, 32);
    v2_ += v3_;
    v3_ = std::rotl(v3_, 16) ^ v2_;
    v0_ += v3_;
    v3_ = std::rotl(v3_, 21) ^ v0_;
    v2_ += v1_;
    v1_ = std::rotl(v1_, 17) ^ v2_;
    v2_ = std::rotl(v2_, 32);
  }

  std::uint64_t v0_, v1_, v2_, v3_;
};

}  // namespace

SipKey random_sip_key() {
  std::random_device source;
  const auto word = [&] { return std::uint64_t{source()} << 32 | source(); };
  return {word(), word()};
}

std::uint64_t siphash64(const SipKey& key, std::span<const std::byte> bytes) {
  State state(key, false);
  state.absorb(bytes);
  return state.finish(0xFF);
}

std::array<std::uint64_t, 2> siphash128(const SipKey& key, std::span<const std::byte> bytes) {
  State state(key, true);
  state.absorb(bytes);
  const std::uint64_t first = state.finish(0xEE);
  return {first, state.finish_more(0xDD)};
}

}  // namespace hearth::generate
