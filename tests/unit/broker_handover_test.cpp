// What survives an upgrade: a broker that was saved and restored goes on exactly as the one that it
// was saved from.
#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <functional>
#include <random>
#include <tuple>

#include "daemon/broker/handover/format.h"
#include "daemon/broker/handover/state.h"
#include "daemon/broker/net/saved.h"
#include "tests/unit/broker_for_test.h"

namespace hearth::broker {
namespace {

constexpr int kSteps = 120;  // before the handover, and after it
constexpr std::size_t kClients = 5;
constexpr std::size_t kFiles = 3;

// One broker and everything around it.
struct World {
  explicit World(const Config& config)
      : broker(std::make_unique<Broker>(config, Ports{worker, timer, off_loop})) {}

  FakeTimer timer;
  FakeWorkerPort worker;
  FakeOffLoop off_loop;
  std::array<FakeClient, kClients> clients;
  std::unique_ptr<Broker> broker;

  const Core& core() const { return broker->core(); }
  template <class M>
  void from_worker(std::uint32_t id, const M& message, std::vector<Fd> fds = {}) {
    broker->receive_from_worker({M::kType, id, contract::pack(message), std::move(fds)});
  }
  template <class M>
  void from_client(std::size_t client, std::uint32_t id, const M& message,
                   std::vector<Fd> fds = {}) {
    broker->receive(clients[client].id, {M::kType, id, contract::pack(message), std::move(fds)});
  }
};

std::string text_of(const OutFrame& frame) {
  std::string body = frame.body;
  if (frame.type == contract::StatusReport::kType) {
    auto report = *contract::unpack<contract::StatusReport>(bytes_of(body));
    report.rss_bytes = 0;  // of this process, whichever world it is about
    report.descriptors = 0;
    report.upgrades = 0;
    for (contract::ErrorEntry& error : report.last_errors) error.at_ms = 0;  // the wall's clock
    std::sort(report.last_errors.begin(), report.last_errors.end(),  // of one moment in any order
              [](const auto& a, const auto& b) {
                return std::tie(a.code, a.what, a.model, a.client) <
                       std::tie(b.code, b.what, b.model, b.client);
              });
    std::sort(report.clients.begin(), report.clients.end(),
              [](const auto& a, const auto& b) { return a.connection < b.connection; });
    body = contract::pack(report);
  }
  if (frame.type == contract::JobList::kType) {
    auto list = *contract::unpack<contract::JobList>(bytes_of(body));
    std::sort(list.jobs.begin(), list.jobs.end(),
              [](const auto& a, const auto& b) { return a.job < b.job; });
    body = contract::pack(list);
  }
  return std::string(contract::name_of_type(frame.type)) + " " + std::to_string(frame.request_id) +
         " " + std::to_string(frame.fds.size()) + " " + body;
}

// All that a world has sent since the last call, sorted for each receiver: which of two clients is
// told first is nobody's business.
std::vector<std::vector<std::string>> take_sent(World& world) {
  std::vector<std::vector<std::string>> all;
  const auto take = [&](std::vector<OutFrame>& frames) {
    std::vector<std::string>& texts = all.emplace_back();
    for (const OutFrame& frame : frames) texts.push_back(text_of(frame));
    std::sort(texts.begin(), texts.end());
    frames.clear();
  };
  take(world.worker.sent);
  for (FakeClient& client : world.clients) take(client.received);
  return all;
}

class Traffic {
 public:
  Traffic(std::uint32_t seed, const TemporaryFolder& folder) : random_(seed), folder_(folder) {
    for (std::size_t i = 0; i < kFiles; ++i)
      folder.write(std::to_string(i), "weights " + std::to_string(i));
  }

  using Step = std::function<void(World&)>;
  // Something that may happen next, whichever of two equal worlds it happens to.
  Step next(const World& world);
  int restarts = 0;

 private:
  std::size_t below(std::size_t n) {
    return std::uniform_int_distribution<std::size_t>(0, n - 1)(random_);
  }
  bool chance(double share) { return std::bernoulli_distribution(share)(random_); }
  std::uint32_t new_id() { return ++last_id_; }

  Step connect_or_leave(const World& world);
  Step offer();
  Step ask(const World& world);
  Step answer_call(const World& world);
  Step go_on_with_job(const World& world);
  Step lose_worker();
  Step upkeep(const World& world);
  contract::Generate question(const World& world, std::size_t client);
  std::string any_model(const World& world);

  std::mt19937 random_;
  const TemporaryFolder& folder_;
  std::uint32_t last_id_ = 0;
};

Traffic::Step Traffic::connect_or_leave(const World& world) {
  const std::size_t n = below(kClients);
  const ConnectionId id = world.clients[n].id;
  const bool is_there = world.core().clients.contains(id);
  if (is_there && chance(0.3)) return [n](World& w) { w.broker->disconnect(w.clients[n].id); };
  if (is_there) return [](World&) {};
  const uid_t user = 1000 + static_cast<uid_t>(n % 2);
  const bool with_hello = chance(0.9);
  return [n, user, with_hello](World& w) {
    w.clients[n].closed = false;
    w.clients[n].id = w.broker->connect(w.clients[n], Peer{4711, user, {user}});
    contract::Hello hello;
    hello.oldest = contract::kOldestProtocolVersion;
    hello.newest = contract::kProtocolVersion;
    hello.client = "test";
    if (with_hello) w.from_client(n, 0, hello);
  };
}

Traffic::Step Traffic::offer() {
  const std::size_t n = below(kClients);
  const std::string file = std::to_string(below(kFiles));
  return [n, file, id = new_id(), this](World& w) {
    contract::OfferModel message;
    message.name = file;
    message.labels = {"model.safetensors"};
    std::vector<Fd> fds;
    fds.push_back(folder_.open(file));
    w.from_client(n, id, message, std::move(fds));
  };
}

std::string Traffic::any_model(const World& world) {
  std::vector<std::string> ids;
  for (const Model* model : const_cast<Core&>(world.core()).models.all()) ids.push_back(model->id);
  std::sort(ids.begin(), ids.end());
  return ids.empty() ? "none" : ids[below(ids.size())];
}

contract::Generate Traffic::question(const World& world, std::size_t client) {
  contract::Generate message;
  message.model = any_model(world);
  contract::ChatMessage turn;
  turn.role = "user";
  turn.content.emplace_back();
  turn.content[0].kind = "text";
  turn.content[0].text = "question " + std::to_string(below(4));
  message.messages = {turn};
  if (chance(0.5)) message.key = "key " + std::to_string(below(6)) + turn.content[0].text;
  if (chance(0.3)) message.result_key = "result";
  message.priority = chance(0.5) ? "interactive" : "batch";
  const auto found = world.core().clients.find(world.clients[client].id);
  if (found == world.core().clients.end() || found->second.arenas.empty() || chance(0.5))
    return message;
  contract::ContentPart picture;
  picture.kind = "image";
  picture.tensor.emplace();
  picture.tensor->arena = *found->second.arenas.begin();
  picture.tensor->offset = 4096;
  picture.tensor->nbytes = 12;
  picture.tensor->dtype = "u8";
  picture.tensor->shape = {2, 2, 3};
  message.messages[0].content.push_back(picture);
  return message;
}

Traffic::Step Traffic::ask(const World& world) {
  const std::size_t n = below(kClients);
  const std::uint32_t id = new_id();
  const auto send = [n, id](auto message) -> Step {
    return [n, id, message](World& w) { w.from_client(n, id, message); };
  };
  const auto about_model = [&](auto message) -> Step {
    message.model = any_model(world);
    return send(message);
  };
  switch (below(9)) {
    case 0:
      return about_model(contract::LoadModel{});
    case 1:
      return chance(0.2) ? about_model(contract::UnloadModel{}) : about_model(contract::PlanLoad{});
    case 2: {
      contract::ArenaAsk message;
      message.nbytes = 65536;
      return send(message);
    }
    case 3: {
      contract::Encode message;
      const contract::Generate question = this->question(world, n);
      message.model = question.model;
      message.messages = question.messages;
      message.layers = {-1};
      return send(message);
    }
    case 4: {
      contract::CountTokens message;
      message.messages = question(world, n).messages;
      message.messages[0].content.resize(1);
      return about_model(message);
    }
    case 5: {
      const std::uint32_t earlier = 1 + static_cast<std::uint32_t>(below(last_id_));
      return [n, earlier](World& w) { w.from_client(n, earlier, contract::Cancel{}); };
    }
    default:
      return send(question(world, n));
  }
}

// The worker ends one of the calls about a model.
Traffic::Step Traffic::answer_call(const World& world) {
  std::vector<JobId> calls;
  for (const auto& [id, call] : world.core().model_calls) calls.push_back(id);
  if (calls.empty()) return [](World&) {};
  std::sort(calls.begin(), calls.end());
  const JobId id = calls[below(calls.size())];
  const ModelCall call = world.core().model_calls.at(id);
  if (chance(0.1)) {
    contract::Error error;
    error.code = chance(0.5) ? "out_of_memory" : "bad_model";
    error.what = "no";
    return [id, error](World& w) { w.from_worker(id, error); };
  }
  if (call.unload) return [id](World& w) { w.from_worker(id, contract::ModelUnloaded{}); };
  if (call.op == Op::kLoad) {
    contract::ModelLoaded loaded;
    loaded.model = call.model;
    loaded.resident_bytes = 1000;
    return [id, loaded](World& w) { w.from_worker(id, loaded); };
  }
  contract::ModelOffered offered;
  offered.model = call.model;
  offered.family = "hearth_fake";
  offered.memory.weights_bytes = 600;
  return [id, offered](World& w) { w.from_worker(id, offered); };
}

Traffic::Step Traffic::go_on_with_job(const World& world) {
  std::vector<JobId> running;
  for (const auto& [id, job] : world.core().jobs)
    if (job.running) running.push_back(id);
  if (running.empty()) return [](World&) {};
  std::sort(running.begin(), running.end());
  const JobId id = running[below(running.size())];
  const Job& job = world.core().jobs.at(id);
  if (job.type == contract::Encode::kType) {
    contract::LendArena lent;
    lent.arena = new_id();
    lent.client = job.caller.connection;
    lent.nbytes = 4096;
    contract::Encoded encoded;
    contract::Tensor tensor;
    tensor.arena = lent.arena;
    tensor.nbytes = 64;
    tensor.dtype = "f32";
    tensor.shape = {1, 16};
    encoded.tensors = {tensor};
    return [id, lent, encoded, this](World& w) {
      std::vector<Fd> fds;
      fds.push_back(folder_.open("0"));
      w.from_worker(0, lent, std::move(fds));
      w.from_worker(id, encoded);
    };
  }
  contract::Token token;
  token.text = "word" + std::to_string(new_id()) + " ";
  token.token_ids = std::string(4, 'a');
  if (chance(0.6)) return [id, token](World& w) { w.from_worker(id, token); };
  contract::Generated reply;
  reply.text = token.text;
  reply.stop_reason = "end_token";
  reply.receipt.generated_tokens = 1;
  if (chance(0.3)) return [id](World& w) { w.from_worker(id, contract::Computed{}); };
  return [id, reply](World& w) { w.from_worker(id, reply); };
}

Traffic::Step Traffic::lose_worker() {
  return [](World& w) {
    w.broker->worker_gone("it was ended by the test");
    w.timer.pass(Milliseconds(6'000));
    w.broker->tick();
    contract::WorkerReady ready;
    ready.device.kind = "cpu";
    ready.device.memory_bytes = 2'000;
    ready.slots = 2;
    w.from_worker(0, ready);
  };
}

Traffic::Step Traffic::upkeep(const World& world) {
  const std::size_t n = below(kClients);
  const std::uint32_t id = new_id();
  switch (below(6)) {
    case 0:
      return [n, id](World& w) { w.from_client(n, id, contract::Drain{}); };
    case 1:
    case 2:
      return [n, id](World& w) { w.from_client(n, id, contract::Resume{}); };
    case 3: {
      contract::PinModel pin;
      pin.model = any_model(world);
      pin.pin = chance(0.5);
      return [n, id, pin](World& w) { w.from_client(n, id, pin); };
    }
    case 4:
      return [n, id](World& w) { w.from_client(n, id, contract::ListJobs{}); };
    default:
      return [n, id](World& w) { w.from_client(n, id, contract::FreeMemory{}); };
  }
}

Traffic::Step Traffic::next(const World& world) {
  const std::size_t kind = below(100);
  if (kind < 12) return connect_or_leave(world);
  if (kind < 20) return offer();
  if (kind < 45) return ask(world);
  if (kind < 62) return answer_call(world);
  if (kind < 82) return go_on_with_job(world);
  if (kind < 84) return ++restarts, lose_worker();
  if (kind < 88) return upkeep(world);
  if (kind < 90)
    return [n = below(kClients), id = new_id()](World& w) {
      w.from_client(n, id, contract::Status{});
    };
  const Milliseconds time(chance(0.8) ? below(300) : below(5'000));
  return [time](World& w) {
    w.timer.pass(time);
    w.broker->tick();
  };
}

void do_step(World& world, const Traffic::Step& step) {
  step(world);
  world.off_loop.run_all();
}

// A world whose broker was made from what `before` saved. The descriptors are copies.
std::unique_ptr<World> restored(const World& before, const Config& config) {
  handover::Saver saver;
  before.broker->save(saver);
  const std::string& bytes = saver.bytes();
  auto after = std::make_unique<World>(config);
  after->timer = before.timer;
  after->worker.starts = before.worker.starts;
  const auto copy = [](Fd fd) { return std::make_shared<const Fd>(Fd(::dup(fd.release()))); };
  handover::Loader loader(bytes, handover::kFormat, saver.descriptors());
  loader.adopt_with(copy);
  const auto loaded = after->broker->restore(loader);
  EXPECT_TRUE(loaded) << loaded.error().what;
  EXPECT_TRUE(loader.took_all());
  for (std::size_t n = 0; n < kClients; ++n) {
    FakeClient& client = after->clients[n];
    client.id = before.clients[n].id;
    client.closed = before.clients[n].closed;
    if (after->core().clients.contains(client.id)) after->broker->attach(client.id, client);
  }
  return after;
}

class HandoverTest : public testing::TestWithParam<std::uint32_t> {
 public:
  static Config config() {
    Config config;
    config.boot_id = "boot";
    config.own_user = 1000;  // so that half of the clients look after the service
    config.memory_bytes = 1'500;
    return config;
  }
  TemporaryFolder folder;
};

class HandoverRecord : public testing::Test {
 protected:
  TemporaryFolder folder;
};

void start_work(World& world) {
  world.broker->start();
  do_step(world, [](World& w) {
    contract::WorkerReady ready;
    ready.device.kind = "cpu";
    ready.slots = 2;
    w.from_worker(0, ready);
  });
}

TEST_P(HandoverTest, ABrokerThatWasRestoredSaysWhatTheOneBeforeWouldHaveSaid) {
  SCOPED_TRACE("seed " + std::to_string(GetParam()));
  Traffic traffic(GetParam(), folder);
  World before(config());
  start_work(before);
  for (int i = 0; i < kSteps; ++i) do_step(before, traffic.next(before));
  take_sent(before);

  const std::unique_ptr<World> after = restored(before, config());
  after->broker->resume();
  before.broker->tick();
  ASSERT_EQ(take_sent(before), take_sent(*after)) << "at the handover itself";
  EXPECT_EQ(after->core().upgrades, 1u);
  EXPECT_EQ(after->worker.starts, before.worker.starts) << "the engine goes on";
  for (int i = 0; i < kSteps; ++i) {
    const Traffic::Step step = traffic.next(before);
    do_step(before, step);
    do_step(*after, step);
    ASSERT_EQ(take_sent(before), take_sent(*after)) << "step " << i;
  }
  for (World* world : {&before, after.get()})
    for (const FakeClient& client : world->clients) world->broker->disconnect(client.id);
  for (const uid_t user : {1000u, 1001u})
    EXPECT_EQ(after->core().accounts.held_by(user), before.core().accounts.held_by(user));
}

// With HEARTH_RECORD=FILE: what broker_handover_format_test reads.
TEST_F(HandoverRecord, ABrokerWhoseEngineHasNotStartedIsRestoredToo) {
  World before(HandoverTest::config());
  before.broker->start();
  const std::unique_ptr<World> after = restored(before, HandoverTest::config());
  after->broker->resume();
  EXPECT_EQ(after->core().engine, contract::WorkerReady{});
  EXPECT_EQ(after->core().supervisor.state(), before.core().supervisor.state());
}

TEST_F(HandoverRecord, OfALargeResultCacheTheLatestAnswersGoAlong) {
  constexpr std::uint64_t kAnswerBytes = 1 << 20;
  constexpr std::uint64_t kAnswers = handover::kMostResultBytes / kAnswerBytes + 8;
  Config config = HandoverTest::config();
  config.result_cache_bytes = std::uint64_t{1} << 40;
  World before(config);
  start_work(before);
  const auto key = [](std::uint64_t n) { return ResultCache::Key{1000, "model", "word", n}; };
  auto& results = const_cast<Core&>(before.core()).results;
  for (std::uint64_t n = 0; n < kAnswers; ++n) results.keep(key(n), std::string(kAnswerBytes, 'a'));
  const std::unique_ptr<World> after = restored(before, config);
  const auto& kept = after->core().results;
  EXPECT_LE(kept.bytes(), handover::kMostResultBytes);
  EXPECT_GT(kept.bytes(), handover::kMostResultBytes - 2 * kAnswerBytes);
  EXPECT_EQ(kept.use().budget_bytes, config.result_cache_bytes);
  EXPECT_NE(const_cast<Core&>(after->core()).results.find(key(kAnswers - 1)), nullptr);
  results.keep(key(kAnswers), std::string(2 * handover::kMostResultBytes, 'a'));
  EXPECT_NE(results.find(key(kAnswers)), nullptr) << "the budget is as it was";
}

TEST_F(HandoverRecord, TheTimeOfTheStartGoesAlong) {
  World before(HandoverTest::config());
  const_cast<Core&>(before.core()).started_unix_ms = 1'700'000'000'250;
  const std::unique_ptr<World> after = restored(before, HandoverTest::config());
  EXPECT_EQ(after->core().started_unix_ms, 1'700'000'000'250u);
}

TEST_F(HandoverRecord, AStateCanBeRecordedForLaterVersions) {
  const char* path = std::getenv("HEARTH_RECORD");
  if (path == nullptr) GTEST_SKIP() << "nothing is to be recorded";
  Traffic traffic(1, folder);
  World world(HandoverTest::config());
  start_work(world);
  const auto is_worth_it = [&] {
    return world.core().clients.size() == 3 && world.core().jobs.size() >= 4 &&
           world.core().supervisor.is_ready();
  };
  for (int i = 0; i < 400 || (i < 20'000 && !is_worth_it()); ++i)
    do_step(world, traffic.next(world));
  ASSERT_TRUE(is_worth_it());
  handover::Saver saver;
  save(saver, SavedStart{"boot", {}, {}, "/run/hearth/hearth.sock", true});
  world.broker->save(saver);
  save(saver, SavedTraffic{});
  const auto memfd = handover::write_state(saver.bytes(), saver.descriptors());
  ASSERT_TRUE(memfd);
  std::ifstream from("/proc/self/fd/" + std::to_string(memfd->get()), std::ios::binary);
  std::ofstream(path, std::ios::binary) << from.rdbuf();
}

INSTANTIATE_TEST_SUITE_P(Seeds, HandoverTest, testing::Range(1u, 41u));

}  // namespace
}  // namespace hearth::broker
