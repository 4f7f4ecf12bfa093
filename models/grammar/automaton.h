// A grammar's states, found as they are needed: which bytes may come next, and which states follow.
//
// A state is the set of all ways in which the text so far can be read; a way is a stack of what is
// still to come. Stacks share their tails and equal ones are one (a cell and what lies below it),
// so that equal states are one, too, and a step that was made once is looked up from then on.
//
// Exact for every grammar that does not begin with itself: nothing is approximated, and from a
// state other than kDead some finite text always leads to the end.
//
// Ownership: holds the expressions. Grows until full(); then a fresh one adopts the states in use.
// Not synchronised: one thread at a time.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <unordered_map>
#include <vector>

#include "models/grammar/expressions.h"

namespace hearth::grammar {

// What may still be spent on finding states; a unit is at most about a microsecond and
// two hundred bytes.
struct Effort {
  std::int64_t left = 0;
  bool spent() const { return left < 0; }
};

class Automaton {
 public:
  using State = std::uint32_t;
  static constexpr State kDead = 0;
  static constexpr std::size_t kFullBytes = std::size_t{32} << 20;

  explicit Automaton(std::shared_ptr<const Expressions> expressions);

  State start(Effort& effort);
  // Where `byte` leads. Without effort left kDead, which is not remembered.
  State next(State state, std::uint8_t byte, Effort& effort) {
    const State known = next_[state * classes_ + class_of_[byte]];
    return known != kUnknown ? known : find_next(state, byte, effort);
  }
  // The one byte that leads anywhere. Empty: there are several, none, or no effort is left.
  std::optional<std::uint8_t> only_byte(State state, Effort& effort);
  // The same state of another automaton over the same expressions.
  State adopt(const Automaton& other, State state);

  bool can_end(State state) const { return states_[state].can_end; }
  // After any text of so many plain characters (see Expressions::takes_plain_text) a state follows.
  // kUnbounded: after any number of them.
  std::uint32_t plain_characters(State state) const;

  // Masks that were computed, by state; empty: none.
  std::span<const std::uint32_t> mask(State state) const;
  void keep_mask(State state, std::vector<std::uint32_t> mask);

  std::size_t bytes() const;
  bool full() const { return bytes() > kFullBytes; }

 private:
  static constexpr std::uint32_t kUnknown = ~std::uint32_t{0};
  static constexpr std::uint32_t kBottom = 0;  // the cell below every stack: the end of the text

  // The top of a stack: how far `expression` is, and the stack below it.
  struct Cell {
    ExpressionId expression = 0;
    std::uint32_t count = 0;  // repetitions done, or parts of a sequence
    std::uint32_t inner = 0;  // state of a machine inside one of its texts
    std::uint32_t below = 0;
    friend bool operator==(const Cell&, const Cell&) = default;
  };
  struct CellHash {
    std::size_t operator()(const Cell& cell) const;
  };
  struct StateCells {
    std::size_t first = 0, count = 0;  // of state_cells_
    bool can_end = false;
  };

  std::uint32_t intern(const Cell& cell);
  void push(ExpressionId expression, std::uint32_t below);
  void arrive(const Cell& cell);
  void open(std::uint32_t id);
  void open_machine(std::uint32_t id, const Cell& cell, const Expression& expression);
  State find_next(State state, std::uint8_t byte, Effort& effort);
  State close(Effort& effort);
  State intern_state();
  std::size_t hash_of(std::span<const std::uint32_t> cells, bool can_end) const;
  std::span<const std::uint32_t> cells_of(State state) const;

  std::shared_ptr<const Expressions> expressions_;
  std::array<std::uint16_t, 256> class_of_{};  // bytes that no machine tells apart are one class
  std::size_t classes_ = 0;

  std::vector<Cell> cells_;
  std::vector<std::uint32_t> opened_in_;  // by cell: the last closing that opened it
  std::unordered_map<Cell, std::uint32_t, CellHash> cell_ids_;

  std::vector<StateCells> states_;
  std::vector<std::uint32_t> state_cells_;
  std::unordered_multimap<std::size_t, State> state_ids_;  // by hash
  std::vector<State> next_;                                // [states, classes]
  std::unordered_map<State, std::vector<std::uint32_t>> masks_;
  std::size_t mask_bytes_ = 0;

  // The closing at hand.
  std::uint32_t closing_ = 0;
  std::vector<std::uint32_t> to_open_;
  std::vector<std::uint32_t> leaves_;  // cells of machines that wait for a byte
  bool can_end_ = false;
};

}  // namespace hearth::grammar
