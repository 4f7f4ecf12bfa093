#include "models/grammar/automaton.h"

#include <algorithm>
#include <bitset>
#include <utility>

namespace hearth::grammar {
namespace {

constexpr std::size_t mix(std::size_t hash, std::uint64_t value) {
  hash ^= value + 0x9E3779B97F4A7C15 + (hash << 6) + (hash >> 2);
  return hash * 0xFF51AFD7ED558CCD;
}

// One more repetition. Where any number is allowed, those over the minimum are all alike.
std::uint32_t one_more(std::uint32_t count, const Expression& expression) {
  return expression.max == kUnbounded ? std::min(count + 1, expression.min) : count + 1;
}

}  // namespace

std::size_t Automaton::CellHash::operator()(const Cell& cell) const {
  return mix(mix(cell.expression, std::uint64_t{cell.count} << 32 | cell.inner), cell.below);
}

Automaton::Automaton(std::shared_ptr<const Expressions> expressions)
    : expressions_(std::move(expressions)) {
  std::bitset<257> begins;
  for (MachineId id = 0; id < expressions_->machines(); ++id) {
    const auto& machine = expressions_->machine(id);
    for (std::uint32_t state = 0; state < machine.size(); ++state)
      for (const auto& edge : machine.edges(state)) begins.set(edge.first).set(edge.last + 1u);
  }
  for (std::size_t byte = 0; byte < 256; ++byte) {
    classes_ += byte > 0 && begins[byte];
    class_of_[byte] = static_cast<std::uint16_t>(classes_);
  }
  ++classes_;
  cells_.emplace_back();  // kBottom
  opened_in_.push_back(0);
  intern_state();  // kDead
}

std::uint32_t Automaton::intern(const Cell& cell) {
  const auto [known, fresh] =
      cell_ids_.try_emplace(cell, static_cast<std::uint32_t>(cells_.size()));
  if (fresh) {
    cells_.push_back(cell);
    opened_in_.push_back(0);
  }
  return known->second;
}

// What cannot lead to the end of a text is left out from the beginning.
void Automaton::push(ExpressionId expression, std::uint32_t below) {
  if ((*expressions_)[expression].productive) to_open_.push_back(intern({expression, 0, 0, below}));
}

// A machine has taken a byte and is in state cell.inner.
void Automaton::arrive(const Cell& cell) {
  const auto& expression = (*expressions_)[cell.expression];
  const auto& machine = expressions_->machine(expression.machine);
  if (machine.accepts(cell.inner))
    to_open_.push_back(intern({cell.expression, one_more(cell.count, expression), 0, cell.below}));
  if (!machine.edges(cell.inner).empty()) leaves_.push_back(intern(cell));
}

void Automaton::open_machine(std::uint32_t id, const Cell& cell, const Expression& expression) {
  if (cell.count >= expression.min) to_open_.push_back(cell.below);
  if (cell.count < expression.max) leaves_.push_back(id);
}

// Replaces the top of a stack by what it begins with.
void Automaton::open(std::uint32_t id) {
  if (id == kBottom) {
    can_end_ = true;
    return;
  }
  const Cell cell = cells_[id];
  const auto& expression = (*expressions_)[cell.expression];
  switch (expression.kind) {
    case Expression::Kind::kMachine:
      return open_machine(id, cell, expression);
    case Expression::Kind::kSequence: {
      if (expression.parts == 0) return to_open_.push_back(cell.below);
      const bool last = cell.count + 1 == expression.parts;
      const auto below =
          last ? cell.below : intern({cell.expression, cell.count + 1, 0, cell.below});
      return push(expressions_->part(expression, cell.count), below);
    }
    case Expression::Kind::kChoice:
      for (std::uint32_t i = 0; i < expression.parts; ++i)
        push(expressions_->part(expression, i), cell.below);
      return;
    case Expression::Kind::kRepeat:
      if (cell.count >= expression.min) to_open_.push_back(cell.below);
      if (cell.count < expression.max)
        push(expressions_->part(expression, 0),
             intern({cell.expression, one_more(cell.count, expression), 0, cell.below}));
      return;
    case Expression::Kind::kRule:
      return push(expressions_->part(expression, 0), cell.below);
  }
}

// Opens what is to be opened until only machines that wait for a byte are left.
Automaton::State Automaton::close(Effort& effort) {
  ++closing_;
  while (!to_open_.empty() && !effort.spent()) {
    const auto id = to_open_.back();
    to_open_.pop_back();
    --effort.left;
    if (std::exchange(opened_in_[id], closing_) != closing_) open(id);
  }
  std::sort(leaves_.begin(), leaves_.end());
  leaves_.erase(std::unique(leaves_.begin(), leaves_.end()), leaves_.end());
  const State state = effort.spent() ? kDead : intern_state();
  effort.left -= static_cast<std::int64_t>(leaves_.size());
  to_open_.clear();
  leaves_.clear();
  can_end_ = false;
  return state;
}

std::size_t Automaton::hash_of(std::span<const std::uint32_t> cells, bool can_end) const {
  std::size_t hash = can_end;
  for (const auto id : cells) hash = mix(hash, id);
  return hash;
}

std::span<const std::uint32_t> Automaton::cells_of(State state) const {
  return std::span(state_cells_).subspan(states_[state].first, states_[state].count);
}

// The state of leaves_ and can_end_.
Automaton::State Automaton::intern_state() {
  const auto hash = hash_of(leaves_, can_end_);
  const auto [begin, end] = state_ids_.equal_range(hash);
  for (auto known = begin; known != end; ++known)
    if (can_end(known->second) == can_end_ && std::ranges::equal(cells_of(known->second), leaves_))
      return known->second;
  const auto state = static_cast<State>(states_.size());
  states_.push_back({state_cells_.size(), leaves_.size(), can_end_});
  state_cells_.insert(state_cells_.end(), leaves_.begin(), leaves_.end());
  state_ids_.emplace(hash, state);
  next_.resize(next_.size() + classes_, kUnknown);
  return state;
}

Automaton::State Automaton::start(Effort& effort) {
  push(expressions_->root(), kBottom);
  return close(effort);
}

Automaton::State Automaton::find_next(State state, std::uint8_t byte, Effort& effort) {
  effort.left -= static_cast<std::int64_t>(classes_ / 8 + states_[state].count);
  if (effort.spent()) return kDead;
  for (std::size_t i = 0; i < states_[state].count; ++i) {
    Cell cell = cells_[state_cells_[states_[state].first + i]];
    const auto& expression = (*expressions_)[cell.expression];
    cell.inner = expressions_->machine(expression.machine).step(cell.inner, byte);
    if (cell.inner != Machine::kDead) arrive(cell);
  }
  const State found = close(effort);
  if (!effort.spent()) next_[state * classes_ + class_of_[byte]] = found;
  return found;
}

std::optional<std::uint8_t> Automaton::only_byte(State state, Effort& effort) {
  std::optional<std::uint8_t> only;
  for (int byte = 0; byte < 256; ++byte) {
    if (next(state, static_cast<std::uint8_t>(byte), effort) == kDead) continue;
    if (only) return std::nullopt;
    only = static_cast<std::uint8_t>(byte);
  }
  return effort.spent() ? std::nullopt : only;
}

Automaton::State Automaton::adopt(const Automaton& other, State state) {
  std::unordered_map<std::uint32_t, std::uint32_t> known{{kBottom, kBottom}};
  std::vector<std::uint32_t> stack;
  for (const auto leaf : other.cells_of(state)) {
    stack.clear();
    for (auto id = leaf; !known.contains(id); id = other.cells_[id].below) stack.push_back(id);
    for (; !stack.empty(); stack.pop_back()) {
      Cell cell = other.cells_[stack.back()];
      cell.below = known.at(cell.below);
      known.emplace(stack.back(), intern(cell));
    }
    leaves_.push_back(known.at(leaf));
  }
  std::sort(leaves_.begin(), leaves_.end());
  can_end_ = other.can_end(state);
  const State found = intern_state();
  leaves_.clear();
  can_end_ = false;
  return found;
}

std::uint32_t Automaton::plain_characters(State state) const {
  std::uint32_t most = 0;
  for (const auto id : cells_of(state)) {
    const Cell& cell = cells_[id];
    const auto& expression = (*expressions_)[cell.expression];
    if (cell.inner != Machine::kStart || !expressions_->takes_plain_text(expression.machine))
      continue;
    if (expression.max == kUnbounded) return kUnbounded;
    most = std::max(most, expression.max - cell.count);
  }
  return most;
}

std::span<const std::uint32_t> Automaton::mask(State state) const {
  const auto known = masks_.find(state);
  return known == masks_.end() ? std::span<const std::uint32_t>() : known->second;
}

void Automaton::keep_mask(State state, std::vector<std::uint32_t> mask) {
  mask_bytes_ += mask.size() * sizeof(mask[0]);
  masks_.insert_or_assign(state, std::move(mask));
}

std::size_t Automaton::bytes() const {
  constexpr std::size_t kEntryBytes = 40;  // of a hash table, besides what it holds
  return cells_.size() * (2 * sizeof(Cell) + 2 * sizeof(std::uint32_t) + kEntryBytes) +
         states_.size() * (sizeof(StateCells) + kEntryBytes) +
         (state_cells_.size() + next_.size()) * sizeof(std::uint32_t) + mask_bytes_;
}

}  // namespace hearth::grammar
