// hearth-worker: one engine process. Started by hearthd, useless without it.

#include <csignal>
#include <cstdint>
#include <cstdlib>
#include <map>
#include <string>

#include <CLI/CLI.hpp>
#include <sys/prctl.h>

#include "daemon/worker/link.h"
#include "daemon/worker/worker.h"
#include "models/model.h"
#include "shm/base/log.h"

namespace {

constexpr int kExitNoDevice = 2;
constexpr int kExitDeviceLost = 3;
constexpr auto kFlushLimit = std::chrono::milliseconds(300);

struct Arguments {
  int link_fd = -1;
  std::string device = "auto";
  std::uint32_t threads = 0;
  std::uint32_t slots = 8;
  std::uint64_t memory_bytes = 0;
  std::uint32_t keep_clocks_s = 30;
  bool fake = false;
  hearth::log::Level log_level = hearth::log::Level::kInfo;
};

void declare(CLI::App& app, Arguments& arguments) {
  using hearth::log::Level;
  const std::map<std::string, Level> levels = {{"debug", Level::kDebug},
                                               {"info", Level::kInfo},
                                               {"warning", Level::kWarning},
                                               {"error", Level::kError}};
  app.add_option("--link-fd", arguments.link_fd, "socketpair to the broker")->required();
  app.add_option("--device", arguments.device, "what to compute on")
      ->check(CLI::IsMember({"auto", "cpu", "cuda"}));
  app.add_option("--threads", arguments.threads, "CPU threads for computing; 0: all cores");
  app.add_option("--slots", arguments.slots, "requests that run at once")
      ->check(CLI::Range(1, 1024));
  app.add_option("--memory", arguments.memory_bytes, "bytes that models may take together; 0: all");
  app.add_option("--keep-clocks", arguments.keep_clocks_s,
                 "seconds for which an idle GPU is kept awake");
  app.add_flag("--fake", arguments.fake, "also serve the family that tests use");
  app.add_option("--log-level", arguments.log_level, "least severe lines to log")
      ->transform(CLI::CheckedTransformer(levels));
}

// The broker stops its worker over the link, after letting it finish: a Ctrl-C in the broker's
// terminal must not take the engine away first. Should the broker be killed, so are we, even while
// a kernel call keeps the link unread.
void tie_to_broker() {
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  std::signal(SIGINT, SIG_IGN);
  std::signal(SIGPIPE, SIG_IGN);
  std::signal(SIGXFSZ, SIG_IGN);  // memory over a file size limit is an error of its request
}

[[noreturn]] void refuse(hearth::Fd socket, const hearth::Error& error) {
  hearth::log::error("{}", error.what);
  hearth::worker::Link link(std::move(socket));
  link.send_error(0, error);
  link.flush(kFlushLimit);
  std::_Exit(kExitNoDevice);
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app("The engine of hearth. Started by hearthd.", "hearth-worker");
  Arguments arguments;
  declare(app, arguments);
  CLI11_PARSE(app, argc, argv);
  tie_to_broker();
  hearth::log::start("hearth-worker", arguments.log_level);
  if (arguments.fake) hearth::models::serve_test_families();
  hearth::Fd socket(arguments.link_fd);
  auto engine = hearth::models::open_engine(arguments.device, arguments.threads);
  if (!engine) refuse(std::move(socket), engine.error());
  hearth::worker::Settings settings;
  settings.engine = *std::move(engine);
  settings.slots = arguments.slots;
  settings.memory_bytes = arguments.memory_bytes;
  settings.keep_clocks = std::chrono::seconds(arguments.keep_clocks_s);
  settings.on_device_lost = [] { std::_Exit(kExitDeviceLost); };
  hearth::worker::Worker worker(std::move(socket), std::move(settings));
  worker.serve();
  std::_Exit(EXIT_SUCCESS);
}
