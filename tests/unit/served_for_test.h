// A whole worker in this process, behind a real socketpair, with the fake family.
#pragma once

#include <atomic>
#include <string>
#include <thread>
#include <utility>

#include <gtest/gtest.h>

#include "daemon/worker/worker.h"
#include "tests/unit/generate_for_test.h"
#include "tests/unit/worker_for_test.h"

namespace hearth::worker {

class Served : public testing::Test {
 protected:
  explicit Served(Settings settings = {}) : Served(make_sockets(), std::move(settings)) {}
  Served(SocketPair sockets, Settings settings)
      : broker(std::move(sockets.broker)),
        worker_(std::move(sockets.worker), complete(std::move(settings))) {
    thread_ = std::thread([this] { worker_.serve(); });
  }
  ~Served() override {
    broker.send(0, contract::StopWorker{});
    thread_.join();
  }

  // As the broker does before every job.
  void assign(std::uint32_t id, std::uint32_t user = 1000, std::uint64_t client = 5,
              std::uint64_t out_bytes = std::uint64_t{1} << 28) {
    broker.send(id, contract::AssignJob{user, client, out_bytes});
  }
  void generate(std::uint32_t id, const std::string& text, const std::string& model = "m",
                std::uint32_t user = 1000) {
    assign(id, user);
    contract::Generate request = generate::chat(text);
    request.model = model;
    request.temperature = 0.0;
    request.max_tokens = 4000;
    broker.send(id, request);
  }
  void encode(std::uint32_t id, const std::string& text, std::uint64_t client = 5,
              std::uint64_t out_bytes = std::uint64_t{1} << 28) {
    assign(id, 1000, client, out_bytes);
    contract::Encode request = generate::encode(text, {0});
    request.model = "m";
    broker.send(id, request);
  }
  void make_hot(const std::string& model = "m", const std::string& more = "") {
    broker.attach_fake(++setup_id_, model, more);
    ASSERT_TRUE(broker.load(++setup_id_, model).loaded);
  }

  std::atomic<int> losses{0};
  BrokerSide broker;

 private:
  Settings complete(Settings settings) {
    settings.slots = 3;
    settings.engine.device.name = "test device";
    settings.on_device_lost = [this] { ++losses; };
    return settings;
  }

  Worker worker_;
  std::thread thread_;
  std::uint32_t setup_id_ = 1000;
};

}  // namespace hearth::worker
