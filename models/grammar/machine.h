// A small deterministic automaton over bytes: one character of a class, one character of a JSON
// string with its escapes, or a set of literal texts.
//
// A value type, immutable once built; any thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "models/grammar/code_points.h"

namespace hearth::grammar {

class Machine {
 public:
  static constexpr std::uint32_t kStart = 0;
  static constexpr std::uint32_t kDead = ~std::uint32_t{0};

  struct Edge {
    std::uint8_t first, last;  // bytes, both included
    std::uint32_t target;
  };

  // The machine of no text at all, to be filled by add_state and add_edge.
  Machine() : states_(1) {}

  // The UTF-8 of every member.
  static Machine one_of(const CodePoints& points);
  // One character of a JSON string as it is written between the quotes. Members that need an escape
  // have it; with `any_escape` every member may also be written as one, \uD83D\uDE00 among them.
  static Machine one_in_json(const CodePoints& points, bool any_escape);

  std::uint32_t add_state(bool accepts = false);
  // The bytes must be free. An edge that continues the last one becomes part of it.
  void add_edge(std::uint32_t from, Edge edge);
  // The literal `text` besides what the machine accepts already. Only into a trie of literals.
  void add_literal(std::string_view text);

  std::uint32_t step(std::uint32_t state, std::uint8_t byte) const;
  bool accepts(std::uint32_t state) const { return states_[state].accepts; }
  std::span<const Edge> edges(std::uint32_t state) const { return states_[state].edges; }
  std::uint32_t size() const { return static_cast<std::uint32_t>(states_.size()); }
  std::size_t bytes() const;

  // Whether it accepts all that `other` accepts. Both deterministic: a walk over pairs of states.
  bool covers(const Machine& other) const;

 private:
  struct State {
    std::vector<Edge> edges;  // disjoint
    bool accepts = false;
  };

  std::vector<State> states_;
};

}  // namespace hearth::grammar
