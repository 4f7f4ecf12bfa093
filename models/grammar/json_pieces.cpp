#include "models/grammar/json_pieces.h"

#include <algorithm>
#include <map>

#include <fmt/format.h>

#include "models/grammar/number_range.h"

namespace hearth::grammar {
namespace {

// The declared names as a trie of code points. Children have larger indices than their parents.
struct NameNode {
  std::map<char32_t, std::size_t> children;
  bool is_name = false;
};

std::vector<NameNode> trie_of(const std::vector<Property>& declared) {
  std::vector<NameNode> nodes(1);
  for (const auto& property : declared) {
    std::size_t at = 0, position = 0;
    char32_t point = 0;
    while (position < property.name.size() && next_code_point(property.name, position, point)) {
      const auto [child, fresh] = nodes[at].children.try_emplace(point, nodes.size());
      at = child->second;
      if (fresh) nodes.emplace_back();
    }
    nodes[at].is_name = true;
  }
  return nodes;
}

ExpressionId white_space(Expressions& into, Whitespace policy) {
  if (policy == Whitespace::kCompact) return into.nothing();
  const auto indentation = [&](char32_t of) {
    return into.repeated(into.add_machine(Machine::one_of({{of, of}})), 1, kMaxIndentation);
  };
  const auto new_line = into.sequence(
      {into.literal("\n"), into.choice({into.nothing(), indentation(' '), indentation('\t')})});
  return into.choice({into.nothing(), into.literal(" "), new_line});
}

std::uint32_t less(std::uint32_t count, std::size_t by) {
  if (count == kUnbounded) return count;
  return count - std::min(count, static_cast<std::uint32_t>(by));
}

}  // namespace

std::string quoted(std::string_view text) {
  std::string written = "\"";
  for (const char character : text) {
    constexpr std::string_view kEscaped = "\"\\\b\f\n\r\t", kLetters = "\"\\bfnrt";
    if (const auto place = kEscaped.find(character); place != std::string_view::npos)
      written += {'\\', kLetters[place]};
    else if (static_cast<unsigned char>(character) < 0x20)
      written += fmt::format("\\u{:04x}", static_cast<int>(character));
    else
      written += character;
  }
  return written + '"';
}

JsonPieces::JsonPieces(Expressions& into, Whitespace whitespace)
    : into_(into),
      character_(into.add_machine(Machine::one_in_json(CodePoints::all(), true))),
      plain_character_(into.add_machine(Machine::one_of(plain_in_json()))),
      gap_(white_space(into, whitespace)),
      comma_(into.sequence({into.literal(","), gap_})),
      colon_(into.sequence({into.literal(":"), gap_})),
      quote_(into.literal("\"")),
      any_number_(*add_number(into, {})) {}

ExpressionId JsonPieces::in_quotes(ExpressionId content) {
  return into_.sequence({quote_, content, quote_});
}

ExpressionId JsonPieces::string(std::uint32_t min_characters, std::uint32_t max_characters) {
  return in_quotes(into_.repeated(character_, min_characters, max_characters));
}

ExpressionId JsonPieces::member(ExpressionId name, ExpressionId value) {
  return into_.sequence({name, colon_, value});
}

// A string that is none of the declared names. Where it leaves them it does so with a character
// that is not escaped: "\u0061" would be another way to write "a".
ExpressionId JsonPieces::other_name(const std::vector<Property>& declared) {
  const auto rest = into_.repeated(character_, 0, kUnbounded);
  if (declared.empty()) return in_quotes(rest);
  const auto nodes = trie_of(declared);
  std::vector<ExpressionId> from(nodes.size());
  for (std::size_t i = nodes.size(); i-- > 0;) {
    std::vector<ExpressionId> choices;
    CodePoints taken;
    for (const auto& [point, child] : nodes[i].children) {
      taken.add(point, point);
      const std::string written = quoted(utf8_of(point));
      choices.push_back(
          into_.sequence({into_.literal(written.substr(1, written.size() - 2)), from[child]}));
    }
    if (!nodes[i].is_name) choices.push_back(into_.nothing());
    const auto other = taken.empty() ? into_.repeated(plain_character_, 1, 1)
                                     : into_.one(Machine::one_of(plain_in_json().without(taken)));
    choices.push_back(into_.sequence({other, rest}));
    from[i] = into_.choice(choices);
  }
  return in_quotes(from[0]);
}

ExpressionId JsonPieces::more_members(const std::vector<Property>& declared,
                                      const MoreProperties& more, bool is_first) {
  const auto one = member(other_name(declared), more.value);
  const auto next = into_.sequence({comma_, one});
  if (!is_first) return into_.repeat(next, more.min, more.max);
  const auto some = into_.sequence({one, into_.repeat(next, less(more.min, 1), less(more.max, 1))});
  if (more.max == 0) return into_.nothing();
  return more.min > 0 ? some : into_.choice({into_.nothing(), some});
}

ExpressionId JsonPieces::object(const std::vector<Property>& properties,
                                const std::optional<MoreProperties>& more) {
  // What may follow when no member stands before it, and when one does; from the last to the first.
  ExpressionId as_first = more ? more_members(properties, *more, true) : into_.nothing();
  ExpressionId as_next = into_.nothing();
  if (more && !properties.empty()) as_next = more_members(properties, *more, false);
  for (auto property = properties.rbegin(); property != properties.rend(); ++property) {
    const auto written = member(into_.literal(quoted(property->name)), property->value);
    const auto first = into_.sequence({written, as_next});
    const auto next = into_.sequence({comma_, written, as_next});
    as_first = property->required ? first : into_.choice({first, as_first});
    as_next = property->required ? next : into_.choice({next, as_next});
  }
  return into_.sequence({into_.literal("{"), gap_, as_first, gap_, into_.literal("}")});
}

ExpressionId JsonPieces::array(const Elements& elements) {
  const auto before =
      static_cast<std::uint32_t>(std::min<std::size_t>(elements.first.size(), elements.max));
  ExpressionId rest = into_.nothing();
  if (elements.others) {
    const auto next = into_.sequence({comma_, *elements.others});
    const auto min = less(elements.min, before), max = less(elements.max, before);
    if (before > 0) {
      rest = into_.repeat(next, min, max);
    } else if (max > 0) {
      rest = into_.sequence({*elements.others, into_.repeat(next, less(min, 1), less(max, 1))});
      if (min == 0) rest = into_.choice({into_.nothing(), rest});
    }
  } else if (elements.min > before) {
    rest = into_.never();
  }
  for (std::uint32_t i = before; i-- > 0;) {
    rest = i > 0 ? into_.sequence({comma_, elements.first[i], rest})
                 : into_.sequence({elements.first[i], rest});
    if (i >= elements.min) rest = into_.choice({into_.nothing(), rest});
  }
  return into_.sequence({into_.literal("["), gap_, rest, gap_, into_.literal("]")});
}

ExpressionId JsonPieces::any() {
  if (any_) return *any_;
  any_ = into_.rule();
  Machine words;
  for (const auto* word : {"true", "false", "null"}) words.add_literal(word);
  Elements elements;
  elements.others = *any_;
  MoreProperties members;
  members.value = *any_;
  into_.define(*any_, into_.choice({object({}, members), array(elements), string(0, kUnbounded),
                                    any_number_, into_.one(words)}));
  return *any_;
}

}  // namespace hearth::grammar
