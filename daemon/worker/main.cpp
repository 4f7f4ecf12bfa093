// hearth-worker: one engine process. Started by hearthd, useless without it.

#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>

#include <CLI/CLI.hpp>
#include <sys/prctl.h>

#include "daemon/worker/link.h"
#include "daemon/worker/worker.h"
#include "models/model.h"
#include "shm/base/log.h"

namespace {

constexpr int kExitNoDevice = 2;
constexpr int kExitDeviceLost = 70;  // EX_SOFTWARE, after last words
constexpr auto kFlushLimit = std::chrono::milliseconds(300);

struct Arguments {
  int link_fd = -1;
  bool check = false;
  std::string device = "auto";
  std::uint32_t threads = 0;
  std::uint32_t slots = 8;
  std::uint64_t memory_bytes = 0;
  std::uint32_t keep_clocks_s = 30;
  bool fake = false;
  std::string log_level = "info";
  std::string log_format = "auto";
};

void declare(CLI::App& app, Arguments& arguments) {
  app.set_version_flag("--version", "hearth-worker " HEARTH_VERSION);
  auto* const link = app.add_option("--link-fd", arguments.link_fd, "socketpair to the broker");
  auto* const check = app.add_flag("--check", arguments.check,
                                   "say what it computes with and on, and end; 2: it cannot");
  auto* const either = app.add_option_group("what to do");
  either->add_options(link, check);
  either->require_option(1);
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
      ->check(CLI::IsMember({"debug", "info", "warning", "error"}));
  app.add_option("--log-format", arguments.log_format, "as the broker's")
      ->check(CLI::IsMember({"auto", "text", "json", "journal"}));
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

// For whoever has just installed libtorch. Open, because that is what proves it.
int check(const Arguments& arguments) {
  const auto engine = hearth::models::open_engine(arguments.device, arguments.threads);
  if (!engine) {
    std::fprintf(stderr, "%s\n%s\n", engine.error().what.c_str(), engine.error().hint.c_str());
    return kExitNoDevice;
  }
  const std::string library = HEARTH_TORCH_VERSION;
  const bool is_cuda = engine->device.kind == hearth::models::DeviceKind::kCuda;
  std::printf("hearth-worker %s\n", HEARTH_VERSION);
  std::printf("libtorch %s\n", library.empty() ? "none" : library.c_str());
  std::printf("device %s: %s\n", is_cuda ? "cuda" : "cpu", engine->device.name.c_str());
  for (const std::string& remark : engine->remarks) std::printf("%s\n", remark.c_str());
  return EXIT_SUCCESS;
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
  if (arguments.check) return check(arguments);
  tie_to_broker();
  hearth::log::start("hearth-worker", hearth::log::level_named(arguments.log_level),
                     hearth::log::format_named(arguments.log_format));
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
