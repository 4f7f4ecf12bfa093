// A broker without sockets: clients, engine process, clock and threads played by the test.
#pragma once

#include <deque>
#include <memory>
#include <string>
#include <vector>

#include <fcntl.h>
#include <gtest/gtest.h>

#include "daemon/broker/broker.h"

namespace hearth::broker {

class FakeTimer : public TimerPort {
 public:
  TimePoint now() override { return now_; }
  void wake_at(TimePoint when) override { asked_.push_back(when); }
  void pass(Milliseconds time) { now_ += time; }
  // Whether somebody asked for a tick at `when` or earlier, but after now.
  bool will_wake_by(TimePoint when) const;

 private:
  TimePoint now_ = TimePoint(std::chrono::hours(1));
  std::vector<TimePoint> asked_;
};

class FakeWorkerPort : public WorkerPort {
 public:
  Result<pid_t> start() override;
  void send(OutFrame frame) override { sent.push_back(std::move(frame)); }
  void kill() override { ++kills; }

  std::vector<OutFrame> of_type(std::uint8_t type) const;
  // The newest frame of type M; a failure when there is none.
  template <class M>
  OutFrame last() const {
    const auto frames = of_type(M::kType);
    EXPECT_FALSE(frames.empty()) << "the worker got no " << contract::name_of_type(M::kType);
    return frames.empty() ? OutFrame{} : frames.back();
  }
  template <class M>
  std::size_t count() const {
    return of_type(M::kType).size();
  }

  std::vector<OutFrame> sent;
  bool startable = true;
  int starts = 0;
  int kills = 0;
};

// Work waits until the test runs it.
class FakeOffLoop : public OffLoop {
 public:
  Ticket run(Lane, Work work) override;
  void abandon(Ticket ticket) override;
  SharedFd adopt(Fd fd) override;
  void run_all();

  std::deque<std::pair<Ticket, Work>> waiting;
  Ticket last_ticket = 0;
  Lane last_lane = Lane::kMemory;
  int abandoned = 0;
  int adopted = 0;
  bool refuses = false;
};

class FakeClient : public ClientPort {
 public:
  void send(OutFrame frame) override;
  void allow_large_frames() override { large_frames = true; }
  void close() override { closed = true; }

  std::vector<OutFrame> of(std::uint32_t request_id) const;
  // How many frames ended this request: must never pass 1.
  std::size_t terminals(std::uint32_t request_id) const;
  // The answer to a request, which must be the only one and of type M.
  template <class M>
  M answer(std::uint32_t request_id) const {
    EXPECT_EQ(terminals(request_id), 1u) << "request " << request_id;
    for (const OutFrame& frame : of(request_id)) {
      if (contract::kind_of_type(frame.type) != contract::Kind::kReply) continue;
      auto message = contract::unpack<M>(bytes_of(frame.body));
      if (frame.type == M::kType && message) return *std::move(message);
      ADD_FAILURE() << "request " << request_id << " ended with "
                    << contract::name_of_type(frame.type) << ": " << error_in(frame);
    }
    return M{};
  }
  std::string error_code(std::uint32_t request_id) const;
  // The error that ended the connection; empty when there is none.
  std::string connection_error() const;

  static std::string error_in(const OutFrame& frame);

  ConnectionId id = 0;
  std::vector<OutFrame> received;
  bool large_frames = false;
  bool closed = false;
};

// A folder for a test's files, gone afterwards.
class TemporaryFolder {
 public:
  TemporaryFolder();
  ~TemporaryFolder();
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;

  std::string path() const { return path_; }
  std::string write(const std::string& name, const std::string& content) const;
  Fd open(const std::string& name, int flags = O_RDONLY) const;

 private:
  std::string path_;
};

class BrokerTest : public testing::Test {
 protected:
  BrokerTest();
  ~BrokerTest() override;

  void make_broker(Config config);

  template <class M>
  static InFrame frame_of(std::uint32_t request_id, const M& message, std::vector<Fd> fds = {}) {
    return InFrame{M::kType, request_id, contract::pack(message), std::move(fds)};
  }
  template <class M>
  void send(FakeClient& client, std::uint32_t request_id, const M& message,
            std::vector<Fd> fds = {}) {
    broker->receive(client.id, frame_of(request_id, message, std::move(fds)));
  }
  template <class M>
  void from_worker(std::uint32_t job_id, const M& message) {
    broker->receive_from_worker(frame_of(job_id, message));
  }

  static constexpr uid_t kServiceUser = 990;  // whom the broker believes to run as
  void connect(FakeClient& client, bool with_hello = true, uid_t user = 1000,
               std::vector<gid_t> groups = {});

  void start_worker(std::uint32_t slots = 2);
  void worker_is_ready(std::uint32_t slots = 2);

  // Asks for an arena and gives its id.
  ArenaId grant_arena(FakeClient& client, std::uint32_t request_id, std::uint64_t nbytes = 65536);

  // Sends an offer of one file; the worker has not been asked yet when files are unexamined.
  void offer(FakeClient& client, std::uint32_t request_id, const std::string& file = "a");
  // The same of a file that lies in the folder already.
  void offer_file(FakeClient& client, std::uint32_t request_id, const std::string& file,
                  const std::string& name = {});
  // The worker recognises what it was last asked to attach.
  void recognise();
  void finish_load();
  void finish_unload();
  // Offers a model from start to end and gives its id.
  std::string hold_model(FakeClient& client, std::uint32_t request_id,
                         const std::string& file = "a");
  // Offers the files that another client has offered before, unchanged.
  std::string hold_same_model(FakeClient& client, std::uint32_t request_id,
                              const std::string& file = "a");
  std::string hold_hot_model(FakeClient& client, std::uint32_t request_id,
                             const std::string& file = "a");

  void load(FakeClient& client, std::uint32_t request_id, const std::string& model);
  void unload(FakeClient& client, std::uint32_t request_id, const std::string& model);
  contract::ModelList list_models(FakeClient& client, std::uint32_t request_id);

  void lose_worker() { broker->worker_gone("it was ended by Killed"); }
  // The back-off passes and a new process reports.
  void come_back();

  static contract::Generate request_for(const std::string& model);
  void add_picture(contract::Generate& message, ArenaId arena, std::uint64_t offset = 4096);
  static contract::Generated generated(const std::string& text);
  // After the last client has gone: nothing is held, counted or promised.
  void expect_empty_ledger() const;
  contract::StatusReport status(FakeClient& client, std::uint32_t request_id);
  void tick_after(Milliseconds time);

  contract::MemoryPlan plan;  // of the models that are recognised from now on
  TemporaryFolder folder;
  FakeTimer timer;
  FakeWorkerPort worker;
  FakeOffLoop off_loop;
  std::unique_ptr<Broker> broker;
};

}  // namespace hearth::broker
