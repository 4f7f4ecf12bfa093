#include "models/grammar/expressions.h"

#include <algorithm>
#include <utility>

namespace hearth::grammar {
namespace {

const Machine& plain_character() {
  static const Machine machine = Machine::one_of(plain_in_json());
  return machine;
}

}  // namespace

MachineId Expressions::add_machine(Machine machine) {
  machine_bytes_ += machine.bytes();
  over_limit_ |= machine_bytes_ > kMaxMachineBytes;
  if (over_limit_) machine = Machine();
  const bool plain = machine.covers(plain_character());
  machines_.push_back({std::move(machine), plain});
  return static_cast<MachineId>(machines_.size() - 1);
}

ExpressionId Expressions::repeated(MachineId machine, std::uint32_t min, std::uint32_t max) {
  Expression expression;
  expression.kind = Expression::Kind::kMachine;
  expression.machine = machine;
  expression.min = min;
  expression.max = max;
  return add(expression, {});
}

ExpressionId Expressions::literal(std::string_view text) {
  if (text.empty()) return nothing();
  Machine machine;
  machine.add_literal(text);
  return one(std::move(machine));
}

ExpressionId Expressions::sequence(std::span<const ExpressionId> parts) {
  Expression expression;
  expression.kind = Expression::Kind::kSequence;
  return parts.size() == 1 ? parts[0] : add(expression, parts);
}

ExpressionId Expressions::sequence(std::initializer_list<ExpressionId> parts) {
  return sequence(std::span(parts.begin(), parts.size()));
}

ExpressionId Expressions::choice(std::span<const ExpressionId> parts) {
  Expression expression;
  expression.kind = Expression::Kind::kChoice;
  return parts.size() == 1 ? parts[0] : add(expression, parts);
}

ExpressionId Expressions::choice(std::initializer_list<ExpressionId> parts) {
  return choice(std::span(parts.begin(), parts.size()));
}

ExpressionId Expressions::repeat(ExpressionId part, std::uint32_t min, std::uint32_t max) {
  Expression expression;
  expression.kind = Expression::Kind::kRepeat;
  expression.min = min;
  expression.max = max;
  return add(expression, std::span(&part, 1));
}

ExpressionId Expressions::rule() {
  Expression expression;
  expression.kind = Expression::Kind::kRule;
  const ExpressionId none = 0;
  return add(expression, std::span(&none, 1));
}

void Expressions::define(ExpressionId rule, ExpressionId part) {
  if (over_limit_) return;
  parts_[expressions_[rule].first_part] = part;
}

ExpressionId Expressions::add(Expression expression, std::span<const ExpressionId> parts) {
  over_limit_ |=
      expressions_.size() >= kMaxExpressions || parts_.size() + parts.size() > 4 * kMaxExpressions;
  if (over_limit_) {
    if (expressions_.empty()) expressions_.emplace_back();
    return 0;
  }
  expression.first_part = static_cast<std::uint32_t>(parts_.size());
  expression.parts = static_cast<std::uint32_t>(parts.size());
  parts_.insert(parts_.end(), parts.begin(), parts.end());
  expressions_.push_back(expression);
  return static_cast<ExpressionId>(expressions_.size() - 1);
}

bool Expressions::produces(const Expression& expression) const {
  const auto productive = [&](ExpressionId id) { return expressions_[id].productive; };
  const auto begin = parts_.begin() + expression.first_part, end = begin + expression.parts;
  switch (expression.kind) {
    case Expression::Kind::kMachine:
      // Every state of a machine leads to one that accepts; only the empty one has no edges.
      return expression.min == 0 || !machine(expression.machine).edges(Machine::kStart).empty();
    case Expression::Kind::kChoice:
      return std::any_of(begin, end, productive);
    case Expression::Kind::kRepeat:
      return expression.min == 0 || productive(*begin);
    case Expression::Kind::kSequence:
    case Expression::Kind::kRule:
      break;
  }
  return std::all_of(begin, end, productive);
}

void Expressions::finish(ExpressionId root) {
  root_ = root;
  // Parts come before what they are part of, except in rules, so few rounds are needed.
  for (bool changed = true; changed;) {
    changed = false;
    for (auto& expression : expressions_)
      if (!expression.productive && produces(expression)) changed = expression.productive = true;
  }
}

}  // namespace hearth::grammar
