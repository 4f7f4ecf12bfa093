// Files of a client on a disk that answers nothing: the worker goes on with everything else.
//
// This program has its own fstat and close. For one chosen file they wait, as the kernel's do on a
// dead network mount.
#include <atomic>
#include <condition_variable>
#include <mutex>
#include <thread>

#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <unistd.h>

#include "daemon/worker/worker.h"
#include "tests/unit/generate_for_test.h"
#include "tests/unit/worker_for_test.h"

namespace hearth::worker {
namespace {

enum class Call { kNone, kStat, kClose };

// The file that hangs, and in which call.
class DeadDisk {
 public:
  void hang(ino_t inode, Call call) {
    const std::lock_guard lock(mutex_);
    inode_ = inode;
    call_ = call;
  }
  void revive() {
    const std::lock_guard lock(mutex_);
    call_ = Call::kNone;
    changed_.notify_all();
  }
  void touch(ino_t inode, Call call) {
    std::unique_lock lock(mutex_);
    if (call_ != call || inode_ != inode) return;
    ++waiting_;
    changed_.notify_all();
    changed_.wait(lock, [&] { return call_ != call; });
    --waiting_;
  }
  bool wait_for_a_victim() {
    std::unique_lock lock(mutex_);
    return changed_.wait_for(lock, std::chrono::seconds(kWatchdogSeconds),
                             [&] { return waiting_ > 0; });
  }

 private:
  std::mutex mutex_;  // of all below
  std::condition_variable changed_;
  ino_t inode_ = 0;
  Call call_ = Call::kNone;
  int waiting_ = 0;
};

DeadDisk disk;

int real_fstat(int fd, struct stat* status) {
  return static_cast<int>(::syscall(SYS_fstat, fd, status));
}

ino_t inode_of(int fd) {
  struct stat status {};
  return real_fstat(fd, &status) == 0 ? status.st_ino : 0;
}

}  // namespace
}  // namespace hearth::worker

extern "C" int fstat(int fd, struct stat* status) noexcept {
  using namespace hearth::worker;
  const int result = real_fstat(fd, status);
  if (result == 0) disk.touch(status->st_ino, Call::kStat);
  return result;
}

extern "C" int close(int fd) {
  using namespace hearth::worker;
  disk.touch(inode_of(fd), Call::kClose);
  return static_cast<int>(::syscall(SYS_close, fd));
}

namespace hearth::worker {
namespace {

class SlowFiles : public testing::Test {
 protected:
  SlowFiles() : SlowFiles(make_sockets()) {}
  explicit SlowFiles(SocketPair sockets)
      : broker(std::move(sockets.broker)), worker_(std::move(sockets.worker), Settings{}) {
    thread_ = std::thread([this] { worker_.serve(); });
    broker.attach_fake(1000, "hot");
    broker.load(1001, "hot");
  }
  ~SlowFiles() override {
    disk.revive();
    broker.send(0, contract::StopWorker{});
    thread_.join();
  }

  contract::AttachModel message() const {
    contract::AttachModel message;
    message.model = message.name = "slow";
    message.labels = {"config.json"};
    return message;
  }
  void expect_an_answer(std::uint32_t id) {
    contract::Generate request = generate::chat("meanwhile");
    request.model = "hot";
    broker.send(id, contract::AssignJob{1000, 1, 0});
    broker.send(id, request);
    // The link must not be what hangs: a revived disk would hide it.
    const timeval limit{20, 0};
    ::setsockopt(broker.socket(), SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
    ASSERT_TRUE(broker.end_of(id).generated);
  }

  const models::ModelFile file =
      models::file_with("config.json", R"({"model_type": "hearth_fake"})");
  BrokerSide broker;

 private:
  Worker worker_;
  std::thread thread_;
};

TEST_F(SlowFiles, DoNotKeepOthersWaitingWhenTheyAreLookedAt) {
  disk.hang(inode_of(file.fd->get()), Call::kStat);
  broker.send(1, message(), {file.fd->get()});
  EXPECT_TRUE(disk.wait_for_a_victim());
  expect_an_answer(2);
  EXPECT_EQ(broker.heard[1].replies, 0);
  disk.revive();
  EXPECT_TRUE(broker.end_of(1).offered);
}

TEST_F(SlowFiles, DoNotKeepOthersWaitingWhenTheyAreClosed) {
  broker.send(1, message(), {file.fd->get()});
  ASSERT_TRUE(broker.end_of(1).offered);
  disk.hang(inode_of(file.fd->get()), Call::kClose);
  broker.send(0, contract::DetachModel{"slow"});
  EXPECT_TRUE(disk.wait_for_a_victim());
  expect_an_answer(2);
}

TEST_F(SlowFiles, DoNotKeepOthersWaitingWhenTheyAreRefused) {
  const models::ModelFile unknown = models::file_with("config.json", "{}");
  disk.hang(inode_of(unknown.fd->get()), Call::kClose);
  broker.send(1, message(), {unknown.fd->get()});
  EXPECT_TRUE(disk.wait_for_a_victim());
  expect_an_answer(2);
  disk.revive();  // before the test's own descriptor is closed
}

}  // namespace
}  // namespace hearth::worker
