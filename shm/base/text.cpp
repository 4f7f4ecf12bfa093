#include "shm/base/text.h"

#include <array>
#include <cstdlib>

namespace hearth {
namespace {

constexpr std::string_view kReplacement = "\xEF\xBF\xBD";
constexpr std::string_view kEllipsis = "\xE2\x80\xA6";

// Bytes of the character that begins here; 0: none does. Shortest forms only, no surrogates, at
// most U+10FFFF: the table of the Unicode standard's chapter 3.
std::size_t character_bytes(std::string_view text) {
  struct Form {
    unsigned first_least, first_most, second_least, second_most;
    std::size_t bytes;
  };
  static constexpr std::array<Form, 9> kForms = {{{0x00, 0x7F, 0, 0, 1},
                                                  {0xC2, 0xDF, 0x80, 0xBF, 2},
                                                  {0xE0, 0xE0, 0xA0, 0xBF, 3},
                                                  {0xE1, 0xEC, 0x80, 0xBF, 3},
                                                  {0xED, 0xED, 0x80, 0x9F, 3},
                                                  {0xEE, 0xEF, 0x80, 0xBF, 3},
                                                  {0xF0, 0xF0, 0x90, 0xBF, 4},
                                                  {0xF1, 0xF3, 0x80, 0xBF, 4},
                                                  {0xF4, 0xF4, 0x80, 0x8F, 4}}};
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  for (const Form& form : kForms) {
    if (byte(0) < form.first_least || byte(0) > form.first_most) continue;
    if (text.size() < form.bytes) return 0;
    if (form.bytes > 1 && (byte(1) < form.second_least || byte(1) > form.second_most)) return 0;
    for (std::size_t i = 2; i < form.bytes; ++i)
      if ((byte(i) & 0xC0U) != 0x80U) return 0;
    return form.bytes;
  }
  return 0;
}

// Where a path below somebody's home that begins `text` goes on after the home itself; 0: it is no
// such path.
std::size_t home_bytes(std::string_view text) {
  for (const std::string_view homes : {"/home/", "/Users/"}) {
    if (!text.starts_with(homes)) continue;
    const std::size_t end = text.find_first_of("/ \"'", homes.size());
    return end == std::string_view::npos ? text.size() : end;
  }
  const char* own = std::getenv("HOME");
  const std::string_view home = own == nullptr ? "" : own;
  const bool is_below = home.size() > 1 && text.starts_with(home) &&
                        (text.size() == home.size() || text[home.size()] == '/');
  return is_below ? home.size() : 0;
}

// Up to where a path goes: a message's words follow after a blank, a colon or a quote.
std::size_t path_bytes(std::string_view text, std::size_t from) {
  const std::size_t end = text.find_first_of(" :;,\"'", from);
  return end == std::string_view::npos ? text.size() : end;
}

}  // namespace

std::string cut(std::string text, std::size_t max_bytes) {
  if (text.size() <= max_bytes) return text;
  std::size_t end = max_bytes;
  while (end > 0 && (static_cast<unsigned char>(text[end]) & 0xC0U) == 0x80U) --end;
  text.resize(end);
  return text;
}

std::string whole_utf8(std::string_view text) {
  std::string made;
  made.reserve(text.size());
  while (!text.empty()) {
    const std::size_t n_bytes = character_bytes(text);
    made += n_bytes == 0 ? kReplacement : text.substr(0, n_bytes);
    text.remove_prefix(n_bytes == 0 ? 1 : n_bytes);
  }
  return made;
}

std::string redacted(std::string_view text, bool hides_quoted) {
  std::string made;
  while (!text.empty()) {
    if (const std::size_t home = home_bytes(text); home > 0) {
      made.append("~/").append(kEllipsis);
      text.remove_prefix(path_bytes(text, home));
      continue;
    }
    const std::size_t quoted = hides_quoted && text[0] == '"' ? text.find('"', 1) : 0;
    if (hides_quoted && text[0] == '"') {
      made.append("\"").append(kEllipsis).append("\"");
      text.remove_prefix(quoted == std::string_view::npos ? text.size() : quoted + 1);
      continue;
    }
    made += text[0];
    text.remove_prefix(1);
  }
  return made;
}

}  // namespace hearth
