// A grammar as data: byte machines put in sequence, in choice, repeated, and named so that they can
// contain themselves. Regular expressions and JSON schemas both become one of these.
//
// Nothing is unrolled: a repetition of a million costs as much as one of two. What is built is
// bounded; over a limit every maker returns never() and over_limit() tells, so that whoever builds
// from hostile input asks once in a while and ends early.
//
// Ownership: owns everything; ids are indices. Built by one thread, then immutable.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "models/grammar/machine.h"

namespace hearth::grammar {

using ExpressionId = std::uint32_t;
using MachineId = std::uint32_t;

inline constexpr std::uint32_t kUnbounded = ~std::uint32_t{0};

struct Expression {
  enum class Kind : std::uint8_t {
    kMachine,   // min to max texts of one machine, one after the other
    kSequence,  // all parts in order
    kChoice,    // one of the parts
    kRepeat,    // min to max times the one part
    kRule,      // the one part, set after the expression was made
  };
  Kind kind = Kind::kSequence;
  bool productive = false;  // some finite text matches it; set by finish()
  std::uint32_t first_part = 0, parts = 0;
  MachineId machine = 0;
  std::uint32_t min = 1, max = 1;  // kUnbounded: any number
};

class Expressions {
 public:
  static constexpr std::size_t kMaxExpressions = 200'000;
  static constexpr std::size_t kMaxMachineBytes = std::size_t{32} << 20;

  ExpressionId nothing() { return sequence({}); }  // the empty text
  ExpressionId never() { return choice({}); }      // no text at all
  MachineId add_machine(Machine machine);
  ExpressionId repeated(MachineId machine, std::uint32_t min, std::uint32_t max);
  ExpressionId one(Machine machine) { return repeated(add_machine(std::move(machine)), 1, 1); }
  ExpressionId literal(std::string_view text);
  ExpressionId sequence(std::span<const ExpressionId> parts);
  ExpressionId sequence(std::initializer_list<ExpressionId> parts);
  ExpressionId choice(std::span<const ExpressionId> parts);
  ExpressionId choice(std::initializer_list<ExpressionId> parts);
  ExpressionId repeat(ExpressionId part, std::uint32_t min, std::uint32_t max);
  ExpressionId rule();  // to be given its part by define()
  void define(ExpressionId rule, ExpressionId part);

  bool over_limit() const { return over_limit_; }

  // Marks what is productive. Afterwards nothing is added.
  void finish(ExpressionId root);

  ExpressionId root() const { return root_; }
  const Expression& operator[](ExpressionId id) const { return expressions_[id]; }
  ExpressionId part(const Expression& of, std::uint32_t index) const {
    return parts_[of.first_part + index];
  }
  const Machine& machine(MachineId id) const { return machines_[id].machine; }
  // Whether one text of this machine may be any character that stands in a JSON string unescaped.
  bool takes_plain_text(MachineId id) const { return machines_[id].takes_plain_text; }
  std::size_t machines() const { return machines_.size(); }

 private:
  struct Unit {
    Machine machine;
    bool takes_plain_text = false;
  };

  ExpressionId add(Expression expression, std::span<const ExpressionId> parts);
  bool produces(const Expression& expression) const;

  std::vector<Expression> expressions_;
  std::vector<ExpressionId> parts_;
  std::vector<Unit> machines_;
  std::size_t machine_bytes_ = 0;
  ExpressionId root_ = 0;
  bool over_limit_ = false;
};

}  // namespace hearth::grammar
