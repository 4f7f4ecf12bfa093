// hearthd: the service's broker.
#include <csignal>
#include <cstdio>
#include <filesystem>
#include <random>

#include <fmt/format.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "daemon/broker/command_line.h"
#include "daemon/broker/handover/replace.h"
#include "daemon/broker/net/listener.h"
#include "daemon/broker/net/service.h"
#include "daemon/broker/net/successor.h"
#include "daemon/broker/published.h"
#include "daemon/broker/settings.h"
#include "daemon/config/document.h"
#include "shm/base/log.h"

namespace {

using hearth::broker::CommandLine;
using hearth::broker::Config;
using hearth::broker::Options;
using hearth::broker::Task;
using hearth::broker::handover::Role;
using hearth::config::Loaded;
using hearth::config::Settings;

constexpr std::string_view kAuto = "auto";

std::filesystem::path own_folder() {
  std::error_code error;
  return std::filesystem::read_symlink("/proc/self/exe", error).parent_path();
}

std::string random_id() {
  std::random_device random;
  return fmt::format("{:08x}{:08x}", random(), random());
}

void add_models(Options& options, const Settings& settings) {
  const auto ember = (own_folder() / "../share/hearth/ember").lexically_normal();
  std::error_code error;
  if (settings.flag("models.ember")) {
    if (std::filesystem::is_directory(ember, error)) {
      options.models.push_back({"ember", ember.string()});
    } else {
      hearth::log::warning("no embedded model at {}", ember.string());
    }
  }
  for (auto& model : hearth::broker::published(settings)) options.models.push_back(model);
}

// Without it everything works, but for what it saves.
void open_cache(Config& config, const Settings& settings) {
  std::string folder = settings.text("cache.folder");
  if (folder == kAuto) folder = hearth::broker::WeightsCache::default_folder();
  if (folder.empty()) return;
  auto opened = hearth::broker::WeightsCache::open(folder, settings.size("cache.size"));
  if (opened) {
    config.weights_cache = *std::move(opened);
  } else {
    hearth::log::warning("{} {}", opened.error().what, opened.error().hint);
  }
}

hearth::broker::WorkerCommand worker_command(const Settings& settings) {
  hearth::broker::WorkerCommand worker;
  worker.program = settings.text("engine.program");
  if (worker.program == kAuto) worker.program = (own_folder() / "hearth-worker").string();
  const auto keep_clocks =
      std::chrono::ceil<std::chrono::seconds>(settings.duration("engine.keep_clocks"));
  worker.arguments = {
      "--device",      settings.choice("engine.device"),
      "--threads",     std::to_string(settings.integer("engine.threads")),
      "--slots",       std::to_string(settings.integer("engine.slots")),
      "--memory",      std::to_string(settings.size_or_auto("engine.memory").value_or(0)),
      "--keep-clocks", std::to_string(keep_clocks.count()),
      "--log-level",   settings.choice("log.level"),
      "--log-format",  settings.choice("log.format")};
  if (settings.flag("engine.fake")) worker.arguments.emplace_back("--fake");
  return worker;
}

Options make_options(const CommandLine& line, const Loaded& loaded) {
  const Settings& settings = loaded.settings;
  Options options;
  options.socket = settings.text("server.socket");
  if (options.socket == kAuto) options.socket = hearth::broker::default_socket_path();
  options.worker = worker_command(settings);
  Config config;
  config.server = "hearthd " HEARTH_VERSION;
  config.boot_id = random_id();
  config.sources = std::make_shared<const hearth::config::Sources>(line.sources);
  config.files = loaded.files;
  config.admin_group = loaded.admin_group;
  options.config = hearth::broker::configured(std::move(config), settings);
  open_cache(options.config, settings);
  add_models(options, settings);
  return options;
}

// Descriptors are what clients use up: take as many as the system gives.
void raise_descriptor_limit() {
  rlimit limit = {};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
  limit.rlim_cur = limit.rlim_max;
  setrlimit(RLIMIT_NOFILE, &limit);
}

int print(const std::string& text) {
  return std::fputs(text.c_str(), stdout) < 0 || std::fflush(stdout) != 0 ? 1 : 0;
}

// 1: something is wrong, and was said.
int check(const Loaded& loaded) {
  for (const auto& problem : loaded.problems)
    std::fprintf(stderr, "%s\n", hearth::config::text_of(problem).c_str());
  return loaded.problems.empty() ? 0 : 1;
}

// 1: something is wrong, and was said.
int ended_with(const hearth::Result<void>& result) {
  if (result) return 0;
  std::fprintf(stderr, "hearthd: %s %s\n", result.error().what.c_str(),
               result.error().hint.c_str());
  return 1;
}

// A program that would not start with these folders does not take over either: what was published
// would be gone, and nobody told. A disk that keeps us is the asker's to give up.
int answer_predecessor(const Options& options) {
  const auto startable = hearth::broker::check_published(options.models);
  if (startable) hearth::broker::answer_predecessor(HEARTH_VERSION);
  return ended_with(startable);
}

int serve(const CommandLine& line, const Loaded& loaded, const Role& role) {
  hearth::log::start("hearthd", hearth::broker::log_level(loaded.settings),
                     hearth::log::format_named(loaded.settings.choice("log.format")));
  hearth::broker::warn_of_prompts(loaded.settings.flag("log.prompts"));
  std::signal(SIGXFSZ, SIG_IGN);  // memory over a file size limit is an error of its request
  umask(0077);  // the socket and its lock are for this user, or for whom systemd made them
  raise_descriptor_limit();
  Options options = make_options(line, loaded);
  options.program = hearth::broker::handover::own_program();
  options.arguments = role.arguments;
  options.take_over = role.take_over;
  if (role.is_asked) return answer_predecessor(options);
  return ended_with(hearth::broker::serve(std::move(options)));
}

}  // namespace

int main(int argc, char** argv) {
  const Role role = hearth::broker::handover::take_role(argc, argv);
  int exit_code = 0;
  const auto line = hearth::broker::read_command_line(argc, argv, exit_code);
  if (!line) return exit_code;
  if (line->task == Task::kPrintDocument) return print(hearth::config::document());
  if (line->task == Task::kPrintExample) return print(hearth::config::example_file());
  if (line->task == Task::kPrintSchema) return print(hearth::config::json_schema());
  const Loaded loaded = hearth::config::load(line->sources);
  if (const int wrong = check(loaded); wrong != 0 || line->task == Task::kCheck) return wrong;
  return serve(*line, loaded, role);
}
