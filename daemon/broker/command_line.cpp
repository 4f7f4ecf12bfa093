#include "daemon/broker/command_line.h"

#include <list>

#include <CLI/CLI.hpp>
#include <fmt/format.h>

namespace hearth::broker {
namespace {

// What was given for one row, as text: config::load() reads it as it reads files, so that all
// mistakes are told together.
struct Given {
  const config::Row* row = nullptr;
  std::vector<std::string> texts;
  bool flag = false;
};

bool is_negative(const config::Row& row) {
  return row.option.starts_with("--no-");
}

std::string help_of(const config::Row& row) {
  std::string help(row.help);
  if (is_negative(row)) return fmt::format("Not: {}", help);
  if (const std::string range = config::range_text(row); !range.empty()) help += " " + range + ".";
  if (row.usual.empty() || row.type == config::Type::kFlag || row.usual == "auto") return help;
  return fmt::format("{} Default: {}.", help, row.usual);
}

std::string_view type_name(const config::Row& row) {
  switch (row.type) {
    case config::Type::kSize:
      return "SIZE";
    case config::Type::kDuration:
      return "DURATION";
    case config::Type::kInteger:
      return "NUMBER";
    case config::Type::kUsers:
      return "UID";
    default:
      return config::is_pattern(row) ? "NAME=FOLDER" : "TEXT";
  }
}

void declare(CLI::App& app, Given& given) {
  const config::Row& row = *given.row;
  const std::string option(row.option);
  if (row.type == config::Type::kFlag) {
    app.add_flag(option, given.flag, help_of(row));
    return;
  }
  CLI::Option* added = app.add_option(option, given.texts, help_of(row));
  added->expected(1)->take_all();
  added->type_name(row.choices.empty() ? std::string(type_name(row)) : std::string(row.choices));
  if (row.type != config::Type::kUsers && !config::is_pattern(row)) added->take_last();
}

// --model NAME=FOLDER.
config::Argument model_argument(const Given& given, const std::string& text) {
  const std::size_t sign = text.find('=');
  const std::string name = text.substr(0, sign);
  const std::string folder = sign == std::string::npos ? "" : text.substr(sign + 1);
  return {fmt::format("model.{}.path", name), std::string(given.row->option), folder};
}

void add_arguments(const Given& given, std::vector<config::Argument>& arguments) {
  const std::string key(given.row->key);
  const std::string option(given.row->option);
  if (given.flag) arguments.push_back({key, option, is_negative(*given.row) ? "false" : "true"});
  if (given.texts.empty()) return;
  if (config::is_pattern(*given.row)) {
    for (const std::string& text : given.texts) arguments.push_back(model_argument(given, text));
  } else {
    arguments.push_back({key, option, fmt::format("{}", fmt::join(given.texts, ","))});
  }
}

struct Tasks {
  bool check = false;
  bool document = false;
  bool example = false;
  bool schema = false;

  Task chosen() const {
    if (check) return Task::kCheck;
    if (document) return Task::kPrintDocument;
    if (example) return Task::kPrintExample;
    return schema ? Task::kPrintSchema : Task::kServe;
  }
};

void declare(CLI::App& app, Tasks& tasks, config::Sources& sources) {
  app.set_version_flag("--version", "hearthd " HEARTH_VERSION);
  app.add_option("--config", sources.file,
                 "Read this file instead of hearth.toml and conf.d/*.toml in " + sources.folder)
      ->type_name("FILE");
  app.add_flag("--check-config", tasks.check, "Say what is wrong with the configuration, and end");
  app.add_flag("--print-config-doc", tasks.document, "Print docs/config.md, and end");
  app.add_flag("--print-config-example", tasks.example, "Print an example of hearth.toml, and end");
  app.add_flag("--print-config-schema", tasks.schema,
               "Print the JSON schema of hearth.toml, and end");
}

}  // namespace

std::optional<CommandLine> read_command_line(int argc, char** argv, int& exit_code) {
  CLI::App app("The hearth service: models that stay loaded, for every ComfyUI on this machine.");
  CommandLine line;
  line.sources.folder = config::default_folder();
  line.sources.environment = config::environment();
  Tasks tasks;
  declare(app, tasks, line.sources);
  std::list<Given> given;
  for (const config::Row& row : config::kTable) {
    if (row.option.empty()) continue;
    given.push_back({&row, {}, false});
    declare(app, given.back());
  }
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    exit_code = app.exit(error);
    return std::nullopt;
  }
  for (const Given& each : given) add_arguments(each, line.sources.arguments);
  line.task = tasks.chosen();
  return line;
}

}  // namespace hearth::broker
