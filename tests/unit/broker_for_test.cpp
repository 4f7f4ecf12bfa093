#include "tests/unit/broker_for_test.h"

#include <cstdlib>
#include <filesystem>
#include <fstream>

namespace hearth::broker {

bool FakeTimer::will_wake_by(TimePoint when) const {
  for (const TimePoint asked : asked_)
    if (asked <= when && asked > now_) return true;
  return false;
}

Result<pid_t> FakeWorkerPort::start() {
  if (!startable) return fail(Code::kWorkerLost, "no such program");
  ++starts;
  return pid_t(1000 + starts);
}

std::vector<OutFrame> FakeWorkerPort::of_type(std::uint8_t type) const {
  std::vector<OutFrame> frames;
  for (const OutFrame& frame : sent)
    if (frame.type == type) frames.push_back(frame);
  return frames;
}

OffLoop::Ticket FakeOffLoop::run(Lane lane, Work work) {
  if (refuses) return 0;
  last_lane = lane;
  waiting.emplace_back(++last_ticket, std::move(work));
  return last_ticket;
}

void FakeOffLoop::abandon(Ticket ticket) {
  ++abandoned;
  std::erase_if(waiting, [&](const auto& entry) { return entry.first == ticket; });
}

SharedFd FakeOffLoop::adopt(Fd fd) {
  ++adopted;
  return std::make_shared<const Fd>(std::move(fd));
}

void FakeOffLoop::run_all() {
  while (!waiting.empty()) {
    Work work = std::move(waiting.front().second);
    waiting.pop_front();
    work()();
  }
}

void FakeClient::send(OutFrame frame) {
  EXPECT_FALSE(closed) << "a frame after the end of the connection";
  received.push_back(std::move(frame));
}

std::vector<OutFrame> FakeClient::of(std::uint32_t request_id) const {
  std::vector<OutFrame> frames;
  for (const OutFrame& frame : received)
    if (frame.request_id == request_id) frames.push_back(frame);
  return frames;
}

std::size_t FakeClient::terminals(std::uint32_t request_id) const {
  std::size_t n = 0;
  for (const OutFrame& frame : of(request_id))
    if (contract::kind_of_type(frame.type) == contract::Kind::kReply) ++n;
  return n;
}

std::string FakeClient::error_code(std::uint32_t request_id) const {
  return answer<contract::Error>(request_id).code;
}

std::string FakeClient::connection_error() const {
  for (const OutFrame& frame : of(0)) {
    const auto error = contract::unpack<contract::Error>(bytes_of(frame.body));
    if (frame.type == contract::Error::kType && error) return error->code;
  }
  return "";
}

std::string FakeClient::error_in(const OutFrame& frame) {
  const auto error = contract::unpack<contract::Error>(bytes_of(frame.body));
  return frame.type == contract::Error::kType && error ? error->code + ": " + error->what : "";
}

TemporaryFolder::TemporaryFolder() {
  std::string name = (std::filesystem::temp_directory_path() / "hearth-test-XXXXXX").string();
  path_ = mkdtemp(name.data());
}

TemporaryFolder::~TemporaryFolder() {
  std::filesystem::remove_all(path_);
}

std::string TemporaryFolder::write(const std::string& name, const std::string& content) const {
  std::ofstream(path_ + "/" + name) << content;
  return path_ + "/" + name;
}

Fd TemporaryFolder::open(const std::string& name, int flags) const {
  return Fd(::open((path_ + "/" + name).c_str(), flags | O_CLOEXEC));
}

BrokerTest::BrokerTest() {
  make_broker(Config{});
}
BrokerTest::~BrokerTest() = default;

void BrokerTest::make_broker(Config config) {
  config.boot_id = "boot";
  config.own_user = kServiceUser;
  broker.reset();
  broker = std::make_unique<Broker>(std::move(config), Ports{worker, timer, off_loop});
}

void BrokerTest::connect(FakeClient& client, bool with_hello, uid_t user,
                         std::vector<gid_t> groups) {
  client.id = broker->connect(client, Peer{4711, user, std::move(groups)});
  if (!with_hello) return;
  contract::Hello hello;
  hello.oldest = contract::kOldestProtocolVersion;
  hello.newest = contract::kProtocolVersion;
  hello.client = "test";
  send(client, 0, hello);
}

void BrokerTest::start_worker(std::uint32_t slots) {
  broker->start();
  worker_is_ready(slots);
}

void BrokerTest::worker_is_ready(std::uint32_t slots) {
  contract::WorkerReady ready;
  ready.device.kind = "cpu";
  ready.device.name = "a processor";
  ready.slots = slots;
  from_worker(0, ready);
  off_loop.run_all();
}

ArenaId BrokerTest::grant_arena(FakeClient& client, std::uint32_t request_id,
                                std::uint64_t nbytes) {
  contract::ArenaAsk ask;
  ask.nbytes = nbytes;
  send(client, request_id, ask);
  off_loop.run_all();
  return client.answer<contract::ArenaGrant>(request_id).arena;
}

void BrokerTest::offer(FakeClient& client, std::uint32_t request_id, const std::string& file) {
  folder.write(file, "weights of " + file);
  offer_file(client, request_id, file, file);
}

void BrokerTest::offer_file(FakeClient& client, std::uint32_t request_id, const std::string& file,
                            const std::string& name) {
  contract::OfferModel message;
  message.name = name;
  message.labels = {"model.safetensors"};
  std::vector<Fd> fds;
  fds.push_back(folder.open(file));
  send(client, request_id, message, std::move(fds));
}

void BrokerTest::recognise() {
  off_loop.run_all();  // a new worker's models are examined again first
  contract::ModelOffered reply;
  const OutFrame asked = worker.last<contract::AttachModel>();
  reply.model = contract::unpack<contract::AttachModel>(bytes_of(asked.body))->model;
  reply.family = "hearth_fake";
  reply.memory = plan;
  from_worker(asked.request_id, reply);
}

void BrokerTest::finish_load() {
  contract::ModelLoaded reply;
  const OutFrame asked = worker.last<contract::LoadModel>();
  reply.model = contract::unpack<contract::LoadModel>(bytes_of(asked.body))->model;
  reply.resident_bytes = 1000;
  from_worker(asked.request_id, reply);
}

void BrokerTest::finish_unload() {
  from_worker(worker.last<contract::UnloadModel>().request_id, contract::ModelUnloaded{});
}

std::string BrokerTest::hold_model(FakeClient& client, std::uint32_t request_id,
                                   const std::string& file) {
  const std::size_t attached = worker.count<contract::AttachModel>();
  offer(client, request_id, file);
  off_loop.run_all();
  if (worker.count<contract::AttachModel>() > attached) recognise();
  return client.answer<contract::ModelOffered>(request_id).model;
}

std::string BrokerTest::hold_same_model(FakeClient& client, std::uint32_t request_id,
                                        const std::string& file) {
  offer_file(client, request_id, file);
  off_loop.run_all();
  return client.answer<contract::ModelOffered>(request_id).model;
}

std::string BrokerTest::hold_hot_model(FakeClient& client, std::uint32_t request_id,
                                       const std::string& file) {
  const std::string model = hold_model(client, request_id, file);
  contract::LoadModel load;
  load.model = model;
  send(client, request_id + 1, load);
  finish_load();
  return model;
}

void BrokerTest::load(FakeClient& client, std::uint32_t request_id, const std::string& model) {
  contract::LoadModel message;
  message.model = model;
  send(client, request_id, message);
}

void BrokerTest::unload(FakeClient& client, std::uint32_t request_id, const std::string& model) {
  contract::UnloadModel message;
  message.model = model;
  send(client, request_id, message);
}

contract::ModelList BrokerTest::list_models(FakeClient& client, std::uint32_t request_id) {
  send(client, request_id, contract::ListModels{});
  return client.answer<contract::ModelList>(request_id);
}

void BrokerTest::come_back() {
  tick_after(Milliseconds(5000));
  worker_is_ready();
}

contract::Generate BrokerTest::request_for(const std::string& model) {
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

void BrokerTest::add_picture(contract::Generate& message, ArenaId arena, std::uint64_t offset) {
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

contract::Generated BrokerTest::generated(const std::string& text) {
  contract::Generated reply;
  reply.text = text;
  reply.stop_reason = "end_token";
  return reply;
}

void BrokerTest::expect_empty_ledger() const {
  const Core& core = broker->core();
  EXPECT_EQ(core.clients.size(), 0u);
  EXPECT_EQ(core.jobs.size(), 0u);
  EXPECT_EQ(core.running, 0u);
  EXPECT_EQ(core.held_slots, 0u);
  EXPECT_EQ(core.arenas.size(), 0u);
  EXPECT_EQ(core.arenas.total_bytes(), 0u);
  EXPECT_EQ(core.out_arenas.size(), 0u);
  EXPECT_EQ(core.out_arenas.total_bytes(), 0u);
  EXPECT_EQ(core.out_arenas.results(), 0u);
  EXPECT_EQ(core.out_arenas.result_bytes(), 0u);
  EXPECT_EQ(core.arena_bytes_asked, 0u);
  EXPECT_TRUE(core.accounts.empty());
}

contract::StatusReport BrokerTest::status(FakeClient& client, std::uint32_t request_id) {
  send(client, request_id, contract::Status{});
  return client.answer<contract::StatusReport>(request_id);
}

void BrokerTest::tick_after(Milliseconds time) {
  timer.pass(time);
  broker->tick();
}

}  // namespace hearth::broker
