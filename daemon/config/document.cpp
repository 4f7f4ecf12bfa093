#include "daemon/config/document.h"

#include <fmt/format.h>

#include "daemon/config/sources.h"

namespace hearth::config {
namespace {

constexpr std::size_t kLineLetters = 88;

constexpr std::string_view kIntroduction = R"(# Settings of the service

Written by `hearthd --print-config-doc`; change daemon/config/table.h instead.

hearth needs no configuration. Where something shall be otherwise, say so in `hearth.toml`:

```toml
[server]
drain = "45s"

[model.describer]
path = "/srv/models/Qwen3-VL-4B-Instruct"
pin = true
```

**Files.** The service of one user reads `$XDG_CONFIG_HOME/hearth/hearth.toml` (usually
`~/.config/hearth/hearth.toml`), the system service `/etc/hearth/hearth.toml`. Then come all
`conf.d/*.toml` beside it, in the order of their names. `hearthd --config FILE` reads FILE instead of
all these. A user's service is one that finds `$XDG_RUNTIME_DIR`; `$CONFIGURATION_DIRECTORY`, which
systemd sets, goes before both places.

**What wins.** Setting by setting: the command line, then the environment, then the later file, then
the default. `hearth config show` says for each where it was said.

**Values.** Sizes are texts such as `"20GiB"`, `"1.5G"` or `"512MB"`, always in powers of two; numbers
are bytes. Durations are texts such as `"45s"`, `"200ms"`, `"10min"`, `"2h"` or `"1d"`; numbers are
seconds. In the environment and on the command line there are no quotes, and user ids are separated
by commas.

**Mistakes.** An unknown setting, a value of the wrong type or out of range keeps the service from
starting; all mistakes are named at once, with file, line and column. `hearth config check` looks
without starting anything.

**Changes.** `hearth config reload`, `systemctl reload hearthd` or SIGHUP reads the files again. If
anything is wrong, nothing changes. `hearth config diff` says what would. A change counts, as the
tables say,

- *at once*,
- from the *next load* of a model on, or
- after a *restart* of the service: a reload reports it and leaves it as it is until then.
)";

std::string_view words_of(TakesEffect takes_effect) {
  switch (takes_effect) {
    case TakesEffect::kLive:
      return "at once";
    case TakesEffect::kNextLoad:
      return "next load";
    case TakesEffect::kRestart:
      break;
  }
  return "restart";
}

std::string first_upper(std::string text) {
  if (!text.empty()) text[0] = upper(text[0]);
  return text;
}

std::string escaped(std::string_view text) {
  std::string out;
  for (const char letter : text) {
    if (letter == '|') out += '\\';
    out += letter;
  }
  return out;
}

// Of texts there is nothing to say.
std::string kind_of(const Row& row) {
  if (row.type == Type::kText) return "";
  std::string kind = ' ' + first_upper(expected(row));
  if (const std::string range = range_text(row); !range.empty()) kind += ", " + range;
  return kind + ".";
}

std::string usual_of(const Row& row) {
  return is_pattern(row) ? "" : fmt::format("`{}`", to_toml(row, usual_value(row)));
}

// How else it can be said.
std::string elsewhere(const Row& row) {
  std::string text;
  if (!row.option.empty()) text += fmt::format(" `{}`", row.option);
  if (!is_pattern(row)) text += fmt::format(" `{}`", variable_of(row.key));
  return text;
}

std::string section_document(const Section& section) {
  const bool listed = section.name.find('*') == std::string_view::npos;
  std::string text = fmt::format(
      "\n## [{}]\n\n{}\n\n| Setting | Default | Counts | |\n"
      "| --- | --- | --- | --- |\n",
      section.name, section.help);
  for (const Row& row : kTable) {
    if (section_of(row.key) != section.name) continue;
    text +=
        fmt::format("| `{}` | {} | {} | {} {}{} |\n", name_of(row.key), listed ? usual_of(row) : "",
                    words_of(row.takes_effect), escaped(row.help), kind_of(row), elsewhere(row));
  }
  return text;
}

// Lines of a comment.
std::string commented(std::string_view text) {
  std::string out;
  std::string line = "#";
  while (!text.empty()) {
    const std::size_t space = text.find(' ');
    const std::string_view word = text.substr(0, space);
    if (line.size() + 1 + word.size() > kLineLetters) {
      out += line + '\n';
      line = "#";
    }
    line += fmt::format(" {}", word);
    text = space == std::string_view::npos ? "" : text.substr(space + 1);
  }
  return out + line + '\n';
}

std::string example_of(const Section& section) {
  const bool is_one_of_many = section.name.find('*') != std::string_view::npos;
  std::string name(section.name);
  if (is_one_of_many)
    name.replace(name.find('*'), 1, section.name.starts_with("model") ? "describer" : "1001");
  std::string text = '\n' + commented(section.help) + fmt::format("#[{}]\n", name);
  for (const Row& row : kTable) {
    if (section_of(row.key) != section.name) continue;
    text += commented(fmt::format("{}{}", row.help, kind_of(row)));
    const std::string usual = is_one_of_many ? "…" : to_toml(row, usual_value(row));
    text += fmt::format("#{} = {}\n", name_of(row.key), usual);
  }
  return text;
}

}  // namespace

std::string document() {
  std::string text(kIntroduction);
  for (const Section& section : kSections) text += section_document(section);
  return text;
}

std::string example_file() {
  std::string text =
      "# Settings of hearth: all that there are, each with its default. docs/config.md says where\n"
      "# this file goes and what else can be said. `hearth config check` looks for mistakes.\n"
      "# Written by hearthd --print-config-example.\n";
  for (const Section& section : kSections) text += example_of(section);
  return text;
}

}  // namespace hearth::config
