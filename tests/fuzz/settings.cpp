// hearth.toml. Input: the text of a file.
#include "daemon/config/toml_file.h"
#include "tests/fuzz/fuzz.h"

namespace hearth::fuzz {
namespace {

// The same settings, written as TOML again.
config::Settings written_and_read(const config::Settings& settings) {
  config::Settings again;
  for (const auto& [key, setting] : settings.all()) {
    const config::Row& row = *config::find_row(key);
    if (config::is_pattern(row)) continue;  // its name would have to be quoted
    std::vector<config::Problem> problems;
    config::read_toml(key + " = " + config::to_toml(row, setting.value) + "\n", "again", again,
                      problems);
    expect(problems.empty(), "what was read can be written and read");
  }
  return again;
}

}  // namespace
}  // namespace hearth::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace hearth;
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  config::Settings settings;
  std::vector<config::Problem> problems;
  config::read_toml(text, "file", settings, problems);
  for (const config::Problem& problem : problems)
    fuzz::expect(problem.where.starts_with("file:") && !problem.what.empty(),
                 "a problem says where and what");
  settings.models();
  settings.user_quotas();
  const config::Settings again = fuzz::written_and_read(settings);
  for (const auto& [key, setting] : again.all())
    fuzz::expect(setting.value == settings.find(key)->value, "a value survives being written");
  return 0;
}
