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
  explicit Served(Settings settings = {});
  Served(SocketPair sockets, Settings settings);
  ~Served() override;

  // As the broker does before every job.
  void assign(std::uint32_t id, std::uint32_t user = 1000, std::uint64_t client = 5,
              std::uint64_t out_bytes = std::uint64_t{1} << 28);
  void generate(std::uint32_t id, const std::string& text, const std::string& model = "m",
                std::uint32_t user = 1000);
  void encode(std::uint32_t id, const std::string& text, std::uint64_t client = 5,
              std::uint64_t out_bytes = std::uint64_t{1} << 28);
  void make_hot(const std::string& model = "m", const std::string& more = "");

  std::atomic<int> losses{0};
  BrokerSide broker;

 private:
  Settings complete(Settings settings);

  Worker worker_;
  std::thread thread_;
  std::uint32_t setup_id_ = 1000;
};

}  // namespace hearth::worker
