// hearthd: the service's broker.
#include <algorithm>
#include <csignal>
#include <cstdio>
#include <filesystem>
#include <optional>
#include <random>

#include <CLI/CLI.hpp>
#include <fmt/format.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "daemon/broker/net/listener.h"
#include "daemon/broker/net/service.h"
#include "shm/base/log.h"
#include "shm/segment.h"

namespace {

using hearth::broker::Config;
using hearth::broker::Options;

constexpr std::uint64_t kMostWarmBytes = std::uint64_t{8} << 30;

struct Arguments {
  std::string socket = hearth::broker::default_socket_path();
  std::string worker;
  std::string device = "auto";
  unsigned threads = 0;
  unsigned slots = 8;
  double drain_s = 1.5;
  double heartbeat_s = 10.0;
  double restart_pause_s = 5.0;
  std::vector<uid_t> users;
  unsigned user_connections = Config{}.user.connections;
  std::uint64_t user_memory_mib = 0;
  std::uint64_t memory_bytes = 0;
  std::optional<std::uint64_t> warm_memory_bytes;
  unsigned keep_clocks_s = 30;
  std::uint64_t result_cache_bytes = Config{}.result_cache_bytes;
  std::string cache_folder = hearth::broker::WeightsCache::default_folder();
  std::uint64_t cache_bytes = std::uint64_t{64} << 30;
  std::vector<std::string> models;
  bool no_ember = false;
  bool fake = false;
  std::string log_level = "info";
};

std::filesystem::path own_folder() {
  std::error_code error;
  return std::filesystem::read_symlink("/proc/self/exe", error).parent_path();
}

std::string check_named_folder(const std::string& text) {
  const std::size_t sign = text.find('=');
  const bool good = sign != std::string::npos && sign > 0 && sign + 1 < text.size();
  return good ? "" : "expected NAME=FOLDER";
}

void declare_memory(CLI::App& app, Arguments& arguments) {
  app.add_option(
         "--memory", arguments.memory_bytes,
         "device memory that models may take together: 20GiB, 8G; default: 75 % of the RAM, "
         "or a GPU's memory less 6 % and at least 1 GiB")
      ->type_name("SIZE")
      ->transform(CLI::AsSizeValue(false));
  app.add_option(
         "--warm-memory", arguments.warm_memory_bytes,
         "pinned memory in which models rest that left a GPU; 0: none; default: 25 % of the "
         "RAM, at most 8 GiB")
      ->type_name("SIZE")
      ->transform(CLI::AsSizeValue(false));
  app.add_option("--result-cache", arguments.result_cache_bytes,
                 "memory for answers that are asked for again; 0: none; default: 64MiB")
      ->type_name("SIZE")
      ->transform(CLI::AsSizeValue(false));
  app.add_option("--cache-dir", arguments.cache_folder,
                 "where rounded weights are kept, so that a model is rounded once; '': nowhere")
      ->capture_default_str();
  app.add_option("--cache-size", arguments.cache_bytes,
                 "what they may take on disk; default: 64GiB")
      ->type_name("SIZE")
      ->transform(CLI::AsSizeValue(false));
}

void declare(CLI::App& app, Arguments& arguments) {
  app.set_version_flag("--version", "hearthd " HEARTH_VERSION);
  app.add_option("--socket", arguments.socket, "where clients connect")->capture_default_str();
  app.add_option("--worker", arguments.worker, "the engine program; default: beside hearthd");
  app.add_option("--device", arguments.device, "what to compute on")
      ->check(CLI::IsMember({"auto", "cpu", "cuda"}))
      ->capture_default_str();
  app.add_option("--threads", arguments.threads, "threads to compute with; 0: all processors")
      ->check(CLI::Range(0, 1024));
  app.add_option("--slots", arguments.slots, "requests computed at once")
      ->check(CLI::Range(1, 1024))
      ->capture_default_str();
  app.add_option("--drain", arguments.drain_s, "seconds for open requests when it stops")
      ->check(CLI::Range(0.0, 3600.0))
      ->capture_default_str();
  app.add_option("--heartbeat", arguments.heartbeat_s,
                 "seconds of silence after which a client with open requests is pinged; 0: never")
      ->check(CLI::Range(0.0, 3600.0))
      ->capture_default_str();
  app.add_option("--restart-pause", arguments.restart_pause_s,
                 "most seconds before a lost engine is started again")
      ->check(CLI::Range(0.1, 3600.0))
      ->capture_default_str();
  app.add_option("--allow-uid", arguments.users,
                 "serve this user id only; may be repeated; default: whoever may open the socket");
  app.add_option("--user-connections", arguments.user_connections,
                 "connections that one user may have")
      ->check(CLI::Range(1, 65536))
      ->capture_default_str();
  app.add_option("--user-memory", arguments.user_memory_mib,
                 "shared memory that one user may have; default: half of the RAM")
      ->type_name("MiB")
      ->check(CLI::Range(std::uint64_t{1}, std::uint64_t{1} << 24));
  declare_memory(app, arguments);
  app.add_option("--keep-clocks", arguments.keep_clocks_s,
                 "seconds for which a GPU is kept awake after its last request; 0: not at all")
      ->check(CLI::Range(0, 86400))
      ->capture_default_str();
  app.add_option("--model", arguments.models, "publish a model folder; may be repeated")
      ->type_name("NAME=FOLDER")
      ->check(check_named_folder);
  app.add_flag("--no-ember", arguments.no_ember, "do not publish the embedded model");
  app.add_flag("--fake", arguments.fake, "also serve the family that tests use");
  app.add_option("--log-level", arguments.log_level, "how much is logged")
      ->check(CLI::IsMember({"debug", "info", "warning", "error"}))
      ->capture_default_str();
}

std::string random_id() {
  std::random_device random;
  return fmt::format("{:08x}{:08x}", random(), random());
}

// A user who is given more than the usual limit for all clients raises that too.
void set_limits(Config& config, const Arguments& arguments) {
  config.user.connections = arguments.user_connections;
  config.connections = std::max<std::size_t>(config.connections, arguments.user_connections);
  config.all_arena_bytes = hearth::total_memory_bytes() / 2;
  config.user.arena_bytes = config.all_arena_bytes;
  if (arguments.user_memory_mib == 0) return;
  config.user.arena_bytes = arguments.user_memory_mib << 20;
  config.all_arena_bytes = std::max(config.all_arena_bytes, config.user.arena_bytes);
}

void add_models(Options& options, const Arguments& arguments) {
  const auto ember = (own_folder() / "../share/hearth/ember").lexically_normal();
  std::error_code error;
  if (!arguments.no_ember) {
    if (std::filesystem::is_directory(ember, error)) {
      options.models.push_back({"ember", ember.string()});
    } else {
      hearth::log::warning("no embedded model at {}", ember.string());
    }
  }
  for (const std::string& model : arguments.models) {
    const std::size_t sign = model.find('=');
    options.models.push_back({model.substr(0, sign), model.substr(sign + 1)});
  }
}

// Without it everything works, but for what it saves.
void open_cache(Config& config, const Arguments& arguments) {
  if (arguments.cache_folder.empty()) return;
  auto opened = hearth::broker::WeightsCache::open(arguments.cache_folder, arguments.cache_bytes);
  if (opened) {
    config.weights_cache = *std::move(opened);
  } else {
    hearth::log::warning("{} {}", opened.error().what, opened.error().hint);
  }
}

std::chrono::milliseconds milliseconds(double seconds) {
  return std::chrono::milliseconds(static_cast<std::int64_t>(seconds * 1000));
}

Options make_options(const Arguments& arguments) {
  Options options;
  options.socket = arguments.socket;
  options.worker.program =
      arguments.worker.empty() ? (own_folder() / "hearth-worker").string() : arguments.worker;
  options.worker.arguments = {"--device",      arguments.device,
                              "--threads",     std::to_string(arguments.threads),
                              "--slots",       std::to_string(arguments.slots),
                              "--memory",      std::to_string(arguments.memory_bytes),
                              "--keep-clocks", std::to_string(arguments.keep_clocks_s),
                              "--log-level",   arguments.log_level};
  if (arguments.fake) options.worker.arguments.emplace_back("--fake");
  options.config.server = "hearthd " HEARTH_VERSION;
  options.config.drain = milliseconds(arguments.drain_s);
  options.config.heartbeat = milliseconds(arguments.heartbeat_s);
  options.config.restart_most = milliseconds(arguments.restart_pause_s);
  options.config.allowed_users = arguments.users;
  options.config.boot_id = random_id();
  options.config.memory_bytes = arguments.memory_bytes;
  options.config.warm_memory_bytes = arguments.warm_memory_bytes.value_or(
      std::min(hearth::total_memory_bytes() / 4, kMostWarmBytes));
  options.config.result_cache_bytes = arguments.result_cache_bytes;
  set_limits(options.config, arguments);
  open_cache(options.config, arguments);
  add_models(options, arguments);
  return options;
}

hearth::log::Level level_of(const std::string& word) {
  if (word == "debug") return hearth::log::Level::kDebug;
  if (word == "warning") return hearth::log::Level::kWarning;
  return word == "error" ? hearth::log::Level::kError : hearth::log::Level::kInfo;
}

// Descriptors are what clients use up: take as many as the system gives.
void raise_descriptor_limit() {
  rlimit limit = {};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
  limit.rlim_cur = limit.rlim_max;
  setrlimit(RLIMIT_NOFILE, &limit);
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app("The hearth service: models that stay loaded, for every ComfyUI on this machine.");
  Arguments arguments;
  declare(app, arguments);
  CLI11_PARSE(app, argc, argv);
  hearth::log::start("hearthd", level_of(arguments.log_level));
  std::signal(SIGXFSZ, SIG_IGN);  // memory over a file size limit is an error of its request
  umask(0077);  // the socket and its lock are for this user, or for whom systemd made them
  raise_descriptor_limit();
  const auto served = hearth::broker::serve(make_options(arguments));
  if (served) return 0;
  std::fprintf(stderr, "hearthd: %s %s\n", served.error().what.c_str(),
               served.error().hint.c_str());
  return 1;
}
