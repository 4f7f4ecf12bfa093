#include "models/grammar/machine.h"

#include <algorithm>
#include <map>
#include <set>
#include <string>
#include <utility>

namespace hearth::grammar {
namespace {

using Ranges = std::vector<CodePointRange>;

constexpr std::string_view kShortEscapes = "\"\\/bfnrt";
constexpr std::string_view kEscapedCharacters = "\"\\/\b\f\n\r\t";

// The part of `ranges` inside [first, last], counted from `first`.
Ranges within(const Ranges& ranges, char32_t first, char32_t last) {
  Ranges found;
  for (const auto& range : ranges)
    if (range.first <= last && range.last >= first)
      found.push_back({std::max(range.first, first) - first, std::min(range.last, last) - first});
  return found;
}

// Adds UTF-8 sequences to a machine, sharing states for equal remainders.
class Utf8Writer {
 public:
  Utf8Writer(Machine& machine, std::uint32_t accept) : machine_(machine), accept_(accept) {}

  void write(std::uint32_t from, const CodePoints& points) {
    const auto& ranges = points.ranges();
    for (const auto& range : within(ranges, 0, 0x7F))
      machine_.add_edge(from, {static_cast<std::uint8_t>(range.first),
                               static_cast<std::uint8_t>(range.last), accept_});
    // Lead bytes C0, E0, F0 stand for the value 0 in their first bits.
    branch(from, within(ranges, 0, 0x7FF), 0xC0, 1, 0x80);
    branch(from, within(ranges, 0, 0xFFFF), 0xE0, 2, 0x800);
    branch(from, within(ranges, 0, kLastCodePoint), 0xF0, 3, 0x10000);
  }

 private:
  // One byte from `first_byte` on for each value of the bits above `tail_bytes` * 6. What is below
  // `least` belongs to shorter sequences.
  void branch(std::uint32_t from, const Ranges& ranges, int first_byte, int tail_bytes,
              char32_t least = 0) {
    const char32_t step = char32_t{1} << (6 * tail_bytes);
    for (int value = 0; value < 64; ++value) {
      const char32_t first = step * static_cast<char32_t>(value), last = first + step - 1;
      if (last < least) continue;
      const char32_t begin = std::max(first, least);
      Ranges part = within(ranges, begin, last);
      for (auto& range : part) range = {range.first + begin - first, range.last + begin - first};
      if (part.empty()) continue;
      const auto byte = static_cast<std::uint8_t>(first_byte + value);
      machine_.add_edge(from, {byte, byte, remainder(std::move(part), tail_bytes)});
    }
  }

  std::uint32_t remainder(Ranges ranges, int tail_bytes) {
    if (tail_bytes == 0) return accept_;
    const auto [known, fresh] = known_.try_emplace({tail_bytes, ranges}, 0);
    if (!fresh) return known->second;
    const auto state = known->second = machine_.add_state();
    branch(state, ranges, 0x80, tail_bytes - 1);
    return state;
  }

  Machine& machine_;
  std::uint32_t accept_;
  std::map<std::pair<int, Ranges>, std::uint32_t> known_;
};

// Edges for hexadecimal digits with values in [first, last], both cases of a letter.
void add_hex(Machine& machine, std::uint32_t from, int first, int last, std::uint32_t to) {
  const auto span = [&](int begin, int end, char letter) {
    if (begin <= end)
      machine.add_edge(from, {static_cast<std::uint8_t>(letter + begin),
                              static_cast<std::uint8_t>(letter + end), to});
  };
  span(first, std::min(last, 9), '0');
  span(std::max(first, 10) - 10, last - 10, 'a');
  span(std::max(first, 10) - 10, last - 10, 'A');
}

std::uint32_t any_hex(Machine& machine, std::uint32_t to) {
  const auto state = machine.add_state();
  add_hex(machine, state, 0, 15, to);
  return state;
}

std::uint32_t byte_before(Machine& machine, char byte, std::uint32_t to) {
  const auto state = machine.add_state();
  const auto value = static_cast<std::uint8_t>(byte);
  machine.add_edge(state, {value, value, to});
  return state;
}

// The four digits after \u for any scalar value; one above FFFF is a pair: \uD83D\uDE00.
std::uint32_t any_unicode_escape(Machine& machine, std::uint32_t accept) {
  const auto one = any_hex(machine, accept), two = any_hex(machine, one);
  const auto three = any_hex(machine, two);
  const auto low_second = machine.add_state(), low_first = machine.add_state();
  add_hex(machine, low_second, 12, 15, two);  // DC00 to DFFF
  add_hex(machine, low_first, 13, 13, low_second);
  const auto low = byte_before(machine, '\\', byte_before(machine, 'u', low_first));
  const auto high_rest = any_hex(machine, any_hex(machine, low));
  const auto second = machine.add_state(), first = machine.add_state();
  add_hex(machine, second, 0, 7, two);
  add_hex(machine, second, 8, 11, high_rest);  // D800 to DBFF
  add_hex(machine, first, 0, 12, three);
  add_hex(machine, first, 14, 15, three);
  add_hex(machine, first, 13, 13, second);
  return first;
}

// The control characters that have no short escape: \u00 and two digits, from the state after \u.
std::uint32_t control_escapes(Machine& machine, const CodePoints& controls, std::uint32_t accept) {
  const auto digits = machine.add_state();
  for (int high = 0; high < 2; ++high) {
    const auto state = machine.add_state();
    bool used = false;
    for (int low = 0; low < 16; ++low)
      if (controls.contains(static_cast<char32_t>(high * 16 + low))) {
        add_hex(machine, state, low, low, accept);
        used = true;
      }
    if (used) add_hex(machine, digits, high, high, state);
  }
  return byte_before(machine, '0', byte_before(machine, '0', digits));
}

}  // namespace

Machine Machine::one_of(const CodePoints& points) {
  Machine machine;
  const auto accept = machine.add_state(true);
  Utf8Writer(machine, accept).write(kStart, points);
  return machine;
}

Machine Machine::one_in_json(const CodePoints& points, bool any_escape) {
  Machine machine;
  const auto accept = machine.add_state(true);
  const CodePoints escaped = points.without(plain_in_json());
  Utf8Writer(machine, accept).write(kStart, points.without(escaped));
  if (escaped.empty() && !any_escape) return machine;

  const auto escape = machine.add_state();
  machine.add_edge(kStart, {'\\', '\\', escape});
  CodePoints without_short = escaped;
  for (std::size_t i = 0; i < kShortEscapes.size(); ++i) {
    const auto meant = static_cast<char32_t>(kEscapedCharacters[i]);
    const auto letter = static_cast<std::uint8_t>(kShortEscapes[i]);
    if (escaped.contains(meant) || (any_escape && points.contains(meant)))
      machine.add_edge(escape, {letter, letter, accept});
    without_short = without_short.without({{meant, meant}});
  }
  if (any_escape)
    machine.add_edge(escape, {'u', 'u', any_unicode_escape(machine, accept)});
  else if (!without_short.empty())
    machine.add_edge(escape, {'u', 'u', control_escapes(machine, without_short, accept)});
  return machine;
}

std::uint32_t Machine::add_state(bool accepts) {
  states_.push_back({{}, accepts});
  return size() - 1;
}

void Machine::add_edge(std::uint32_t from, Edge edge) {
  auto& edges = states_[from].edges;
  const bool continues =
      !edges.empty() && edges.back().target == edge.target && edges.back().last + 1 == edge.first;
  if (continues)
    edges.back().last = edge.last;
  else
    edges.push_back(edge);
}

void Machine::add_literal(std::string_view text) {
  std::uint32_t at = kStart;
  for (const char character : text) {
    const auto byte = static_cast<std::uint8_t>(character);
    auto next = step(at, byte);
    if (next == kDead) {
      next = add_state();
      add_edge(at, {byte, byte, next});
    }
    at = next;
  }
  states_[at].accepts = true;
}

std::uint32_t Machine::step(std::uint32_t state, std::uint8_t byte) const {
  for (const auto& edge : states_[state].edges)
    if (edge.first <= byte && byte <= edge.last) return edge.target;
  return kDead;
}

std::size_t Machine::bytes() const {
  std::size_t total = states_.size() * sizeof(State);
  for (const auto& state : states_) total += state.edges.size() * sizeof(Edge);
  return total;
}

bool Machine::covers(const Machine& other) const {
  std::set<std::pair<std::uint32_t, std::uint32_t>> seen{{kStart, kStart}};
  std::vector<std::pair<std::uint32_t, std::uint32_t>> open(seen.begin(), seen.end());
  while (!open.empty()) {
    const auto [mine, theirs] = open.back();
    open.pop_back();
    if (other.accepts(theirs) && !accepts(mine)) return false;
    for (const auto& edge : other.edges(theirs))
      for (int byte = edge.first; byte <= edge.last; ++byte) {
        const auto next = step(mine, static_cast<std::uint8_t>(byte));
        if (next == kDead) return false;
        if (seen.emplace(next, edge.target).second) open.emplace_back(next, edge.target);
      }
  }
  return true;
}

}  // namespace hearth::grammar
