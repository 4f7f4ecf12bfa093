#include "tests/unit/worker_served_for_test.h"

namespace hearth::worker {

Served::Served(Settings settings) : Served(make_sockets(), std::move(settings)) {}
Served::Served(SocketPair sockets, Settings settings)
    : broker(std::move(sockets.broker)),
      worker_(std::move(sockets.worker), complete(std::move(settings))) {
  thread_ = std::thread([this] { worker_.serve(); });
}

Served::~Served() {
  broker.send(0, contract::StopWorker{});
  thread_.join();
}

void Served::assign(std::uint32_t id, std::uint32_t user, std::uint64_t client,
                    std::uint64_t out_bytes) {
  broker.send(id, contract::AssignJob{user, client, out_bytes});
}

void Served::generate(std::uint32_t id, const std::string& text, const std::string& model,
                      std::uint32_t user) {
  assign(id, user);
  contract::Generate request = generate::chat(text);
  request.model = model;
  request.temperature = 0.0;
  request.max_tokens = 4000;
  broker.send(id, request);
}

void Served::encode(std::uint32_t id, const std::string& text, std::uint64_t client,
                    std::uint64_t out_bytes) {
  assign(id, 1000, client, out_bytes);
  contract::Encode request = generate::encode(text, {0});
  request.model = "m";
  broker.send(id, request);
}

void Served::make_hot(const std::string& model, const std::string& more) {
  broker.attach_fake(++setup_id_, model, more);
  ASSERT_TRUE(broker.load(++setup_id_, model).loaded);
}

Settings Served::complete(Settings settings) {
  settings.slots = 3;
  settings.engine.device.name = "test device";
  settings.on_device_lost = [this] { ++losses; };
  return settings;
}

}  // namespace hearth::worker
