// A broker without sockets: clients, engine process, clock and threads played by the test.
#pragma once

#include <cstdlib>
#include <deque>
#include <filesystem>
#include <fstream>
#include <memory>
#include <string>
#include <vector>

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include "daemon/broker/broker.h"

namespace hearth::broker {

class FakeTimer : public TimerPort {
 public:
  TimePoint now() override { return now_; }
  void wake_at(TimePoint when) override { asked_.push_back(when); }
  void pass(Milliseconds time) { now_ += time; }
  // Whether somebody asked for a tick at `when` or earlier, but after now.
  bool will_wake_by(TimePoint when) const {
    for (const TimePoint asked : asked_)
      if (asked <= when && asked > now_) return true;
    return false;
  }

 private:
  TimePoint now_ = TimePoint(std::chrono::hours(1));
  std::vector<TimePoint> asked_;
};

class FakeWorkerPort : public WorkerPort {
 public:
  Result<pid_t> start() override {
    if (!startable) return fail(Code::kWorkerLost, "no such program");
    ++starts;
    return pid_t(1000 + starts);
  }
  void send(OutFrame frame) override { sent.push_back(std::move(frame)); }
  void kill() override { ++kills; }

  std::vector<OutFrame> of_type(std::uint8_t type) const {
    std::vector<OutFrame> frames;
    for (const OutFrame& frame : sent)
      if (frame.type == type) frames.push_back(frame);
    return frames;
  }
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
  Ticket run(Lane, Work work) override {
    if (refuses) return 0;
    waiting.emplace_back(++last_ticket, std::move(work));
    return last_ticket;
  }
  void abandon(Ticket ticket) override {
    ++abandoned;
    std::erase_if(waiting, [&](const auto& entry) { return entry.first == ticket; });
  }
  SharedFd adopt(Fd fd) override {
    ++adopted;
    return std::make_shared<const Fd>(std::move(fd));
  }
  void run_all() {
    while (!waiting.empty()) {
      Work work = std::move(waiting.front().second);
      waiting.pop_front();
      work()();
    }
  }

  std::deque<std::pair<Ticket, Work>> waiting;
  Ticket last_ticket = 0;
  int abandoned = 0;
  int adopted = 0;
  bool refuses = false;
};

class FakeClient : public ClientPort {
 public:
  void send(OutFrame frame) override {
    EXPECT_FALSE(closed) << "a frame after the end of the connection";
    received.push_back(std::move(frame));
  }
  void allow_large_frames() override { large_frames = true; }
  void close() override { closed = true; }

  std::vector<OutFrame> of(std::uint32_t request_id) const {
    std::vector<OutFrame> frames;
    for (const OutFrame& frame : received)
      if (frame.request_id == request_id) frames.push_back(frame);
    return frames;
  }
  // How many frames ended this request: must never pass 1.
  std::size_t terminals(std::uint32_t request_id) const {
    std::size_t n = 0;
    for (const OutFrame& frame : of(request_id))
      if (contract::kind_of_type(frame.type) == contract::Kind::kReply) ++n;
    return n;
  }
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
  std::string error_code(std::uint32_t request_id) const {
    return answer<contract::Error>(request_id).code;
  }
  // The error that ended the connection; empty when there is none.
  std::string connection_error() const {
    for (const OutFrame& frame : of(0)) {
      const auto error = contract::unpack<contract::Error>(bytes_of(frame.body));
      if (frame.type == contract::Error::kType && error) return error->code;
    }
    return "";
  }

  static std::string error_in(const OutFrame& frame) {
    const auto error = contract::unpack<contract::Error>(bytes_of(frame.body));
    return frame.type == contract::Error::kType && error ? error->code + ": " + error->what : "";
  }

  ConnectionId id = 0;
  std::vector<OutFrame> received;
  bool large_frames = false;
  bool closed = false;
};

// A folder for a test's files, gone afterwards.
class TemporaryFolder {
 public:
  TemporaryFolder() {
    std::string name = (std::filesystem::temp_directory_path() / "hearth-test-XXXXXX").string();
    path_ = mkdtemp(name.data());
  }
  ~TemporaryFolder() { std::filesystem::remove_all(path_); }
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;

  std::string path() const { return path_; }
  std::string write(const std::string& name, const std::string& content) const {
    std::ofstream(path_ + "/" + name) << content;
    return path_ + "/" + name;
  }
  Fd open(const std::string& name, int flags = O_RDONLY) const {
    return Fd(::open((path_ + "/" + name).c_str(), flags | O_CLOEXEC));
  }

 private:
  std::string path_;
};

class BrokerTest : public testing::Test {
 protected:
  BrokerTest() { make_broker(Config{}); }

  void make_broker(Config config) {
    config.boot_id = "boot";
    broker.reset();
    broker = std::make_unique<Broker>(std::move(config), Ports{worker, timer, off_loop});
  }

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

  void connect(FakeClient& client, bool with_hello = true, uid_t user = 1000) {
    client.id = broker->connect(client, Peer{4711, user});
    if (!with_hello) return;
    contract::Hello hello;
    hello.oldest = contract::kOldestProtocolVersion;
    hello.newest = contract::kProtocolVersion;
    hello.client = "test";
    send(client, 0, hello);
  }

  void start_worker(std::uint32_t slots = 2) {
    broker->start();
    worker_is_ready(slots);
  }
  void worker_is_ready(std::uint32_t slots = 2) {
    contract::WorkerReady ready;
    ready.device.kind = "cpu";
    ready.device.name = "a processor";
    ready.slots = slots;
    from_worker(0, ready);
    off_loop.run_all();
  }

  // Asks for an arena and gives its id.
  ArenaId grant_arena(FakeClient& client, std::uint32_t request_id, std::uint64_t nbytes = 65536) {
    contract::ArenaAsk ask;
    ask.nbytes = nbytes;
    send(client, request_id, ask);
    off_loop.run_all();
    return client.answer<contract::ArenaGrant>(request_id).arena;
  }

  // Sends an offer of one file; the worker has not been asked yet when files are unexamined.
  void offer(FakeClient& client, std::uint32_t request_id, const std::string& file = "a") {
    folder.write(file, "weights of " + file);
    contract::OfferModel message;
    message.name = file;
    message.labels = {"model.safetensors"};
    std::vector<Fd> fds;
    fds.push_back(folder.open(file));
    send(client, request_id, message, std::move(fds));
  }
  // The worker recognises what it was last asked to attach.
  void recognise() {
    off_loop.run_all();  // a new worker's models are examined again first
    contract::ModelOffered reply;
    const OutFrame asked = worker.last<contract::AttachModel>();
    reply.model = contract::unpack<contract::AttachModel>(bytes_of(asked.body))->model;
    reply.family = "hearth_fake";
    reply.memory = plan;
    from_worker(asked.request_id, reply);
  }
  void finish_load() {
    contract::ModelLoaded reply;
    const OutFrame asked = worker.last<contract::LoadModel>();
    reply.model = contract::unpack<contract::LoadModel>(bytes_of(asked.body))->model;
    reply.resident_bytes = 1000;
    from_worker(asked.request_id, reply);
  }
  void finish_unload() {
    from_worker(worker.last<contract::UnloadModel>().request_id, contract::ModelUnloaded{});
  }
  // Offers a model from start to end and gives its id.
  std::string hold_model(FakeClient& client, std::uint32_t request_id,
                         const std::string& file = "a") {
    const std::size_t attached = worker.count<contract::AttachModel>();
    offer(client, request_id, file);
    off_loop.run_all();
    if (worker.count<contract::AttachModel>() > attached) recognise();
    return client.answer<contract::ModelOffered>(request_id).model;
  }
  // Offers the files that another client has offered before, unchanged.
  std::string hold_same_model(FakeClient& client, std::uint32_t request_id,
                              const std::string& file = "a") {
    contract::OfferModel message;
    message.labels = {"model.safetensors"};
    std::vector<Fd> fds;
    fds.push_back(folder.open(file));
    send(client, request_id, message, std::move(fds));
    off_loop.run_all();
    return client.answer<contract::ModelOffered>(request_id).model;
  }
  std::string hold_hot_model(FakeClient& client, std::uint32_t request_id,
                             const std::string& file = "a") {
    const std::string model = hold_model(client, request_id, file);
    contract::LoadModel load;
    load.model = model;
    send(client, request_id + 1, load);
    finish_load();
    return model;
  }

  static contract::Generate request_for(const std::string& model) {
    contract::Generate message;
    message.model = model;
    contract::ContentPart part;
    part.kind = "text";
    part.text = "hello";
    contract::ChatMessage turn;
    turn.role = "user";
    turn.content = {part};
    message.messages = {turn};
    return message;
  }
  void add_picture(contract::Generate& message, ArenaId arena, std::uint64_t offset = 4096) {
    contract::ContentPart part;
    part.kind = "image";
    part.tensor.emplace();
    part.tensor->arena = arena;
    part.tensor->offset = offset;
    part.tensor->nbytes = 12;
    part.tensor->dtype = "u8";
    part.tensor->shape = {2, 2, 3};
    message.messages[0].content.push_back(part);
  }
  static contract::Generated generated(const std::string& text) {
    contract::Generated reply;
    reply.text = text;
    reply.stop_reason = "end_token";
    return reply;
  }
  // After the last client has gone: nothing is held, counted or promised.
  void expect_empty_ledger() const {
    const Core& core = broker->core();
    EXPECT_EQ(core.clients.size(), 0u);
    EXPECT_EQ(core.jobs.size(), 0u);
    EXPECT_EQ(core.running, 0u);
    EXPECT_EQ(core.arenas.size(), 0u);
    EXPECT_EQ(core.arenas.total_bytes(), 0u);
    EXPECT_EQ(core.out_arenas.size(), 0u);
    EXPECT_EQ(core.out_arenas.total_bytes(), 0u);
    EXPECT_EQ(core.out_arenas.results(), 0u);
    EXPECT_EQ(core.out_arenas.result_bytes(), 0u);
    EXPECT_EQ(core.arena_bytes_asked, 0u);
    EXPECT_TRUE(core.accounts.empty());
  }
  contract::StatusReport status(FakeClient& client, std::uint32_t request_id) {
    send(client, request_id, contract::Status{});
    return client.answer<contract::StatusReport>(request_id);
  }
  void tick_after(Milliseconds time) {
    timer.pass(time);
    broker->tick();
  }

  contract::MemoryPlan plan;  // of the models that are recognised from now on
  TemporaryFolder folder;
  FakeTimer timer;
  FakeWorkerPort worker;
  FakeOffLoop off_loop;
  std::unique_ptr<Broker> broker;
};

}  // namespace hearth::broker
