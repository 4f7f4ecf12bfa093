// Whatever administrators, clients, the engine and the clock do, in whatever order: every request
// ends exactly once, and nothing is left when all have gone.
#include <map>
#include <random>

#include "tests/unit/broker_for_test.h"

namespace hearth::broker {
namespace {

constexpr int kHistories = 300;
constexpr int kSteps = 200;

// An engine that does what it is told when the test lets it.
class DutyTest : public BrokerTest {
 protected:
  void begin(unsigned seed) {
    random.seed(seed);
    worker = FakeWorkerPort();
    make_broker(Config{});
    clients.clear();
    heard = 0;
    started = killed = 0;
    jobs.clear();
    last_id = 100;
    broker->start();
    root = std::make_unique<FakeClient>();
    connect(*root, true, 0);
    for (int i = 0; i < 3; ++i) clients.push_back(newcomer());
  }
  unsigned below(unsigned n) { return static_cast<unsigned>(random() % n); }

  struct Person {
    std::unique_ptr<FakeClient> port = std::make_unique<FakeClient>();
    std::vector<std::uint32_t> asked;
    bool is_gone() const { return port->closed; }
  };
  Person newcomer() {
    Person person;
    connect(*person.port, true, 1000 + below(2));
    return person;
  }

  // The engine's next step: one frame that it was sent, or its start or end.
  bool engine_step() {
    if (worker.starts > started) {
      started = worker.starts;
      heard = worker.sent.size();
      jobs.clear();
      worker_is_ready(2);
      return true;
    }
    if (started == 0 || broker->core().supervisor.pid() == 0) return false;
    if (worker.kills > killed) return engine_ends();
    if (heard == worker.sent.size()) return false;
    const OutFrame frame = worker.sent[heard++];
    hear(frame);
    return true;
  }
  bool engine_ends() {
    killed = worker.kills;
    jobs.clear();
    heard = worker.sent.size();
    broker->worker_gone("it was ended");
    return true;
  }
  void hear(const OutFrame& frame) {
    switch (frame.type) {
      case contract::AttachModel::kType: {
        contract::ModelOffered reply;
        reply.model = contract::unpack<contract::AttachModel>(bytes_of(frame.body))->model;
        reply.family = "hearth_fake";
        return from_worker(frame.request_id, reply);
      }
      case contract::LoadModel::kType: {
        contract::ModelLoaded reply;
        reply.model = contract::unpack<contract::LoadModel>(bytes_of(frame.body))->model;
        return from_worker(frame.request_id, reply);
      }
      case contract::UnloadModel::kType:
      case contract::RestModel::kType:
        return from_worker(frame.request_id, contract::ModelUnloaded{});
      case contract::CountTokens::kType:
        return from_worker(frame.request_id, contract::TokensCounted{});
      case contract::Generate::kType:
        jobs.push_back(frame.request_id);
        return;
      case contract::Cancel::kType:
        if (std::erase(jobs, frame.request_id) > 0) fail_job(frame.request_id);
        return;
      case contract::StopWorker::kType:
        engine_ends();
        return;
      default:
        return;
    }
  }
  void fail_job(std::uint32_t job) {
    contract::Error error;
    error.code = "cancelled";
    from_worker(job, error);
  }
  void job_step() {
    if (jobs.empty()) return;
    const std::uint32_t job = jobs[below(static_cast<unsigned>(jobs.size()))];
    if (below(2) == 0) return from_worker(job, contract::Token{});
    std::erase(jobs, job);
    from_worker(job, generated("done"));
  }

  void offer_to(Person& person) {
    contract::OfferModel message;
    message.name = "a";
    message.labels = {"model.safetensors"};
    std::vector<Fd> fds;
    fds.push_back(folder.open("a"));
    ask(person, message, std::move(fds));
    off_loop.run_all();
  }
  template <class M>
  void ask(Person& person, const M& message, std::vector<Fd> fds = {}) {
    if (person.is_gone()) return;
    person.asked.push_back(++last_id);
    send(*person.port, last_id, message, std::move(fds));
  }
  template <class M>
  void order(const M& message) {
    send(*root, ++last_id, message);
    ordered.push_back(last_id);
  }

  void person_step(Person& person) {
    switch (below(6)) {
      case 0:
        return offer_to(person);
      case 1:
      case 2: {
        contract::Generate message = request_for(model);
        if (below(2) == 0) message.key = std::to_string(last_id);
        return ask(person, message);
      }
      case 3: {
        contract::CountTokens message;
        message.model = model;
        message.messages = request_for(model).messages;
        return ask(person, message);
      }
      case 4:
        if (!person.asked.empty() && !person.is_gone())
          send(*person.port, person.asked[below(static_cast<unsigned>(person.asked.size()))],
               contract::Cancel{});
        return;
      default:
        if (below(4) != 0) return;
        check(person);
        broker->disconnect(person.port->id);
        person = newcomer();
    }
  }
  void root_step() {
    contract::Drain drain;
    contract::Suspend suspend;
    contract::CancelJob cancel;
    contract::KickClient kick;
    contract::EvictModel evict;
    contract::PinModel pin;
    drain.timeout_ms = below(4) * 1000;
    suspend.timeout_ms = below(4) * 1000;
    cancel.job = below(40);
    kick.connection = clients[below(3)].port->id;
    evict.model = pin.model = "a";
    pin.pin = below(2) == 0;
    switch (below(9)) {
      case 0:
        return order(drain);
      case 1:
      case 2:
        return order(suspend);
      case 3:
      case 4:
      case 5:
        return order(contract::Resume{});
      case 6:
        return order(cancel);
      case 7:
        return order(evict);
      default:
        order(pin);
        if (below(5) == 0) order(kick);
    }
  }
  void step() {
    switch (below(6)) {
      case 0:
      case 1:
        return person_step(clients[below(3)]);
      case 2:
        return root_step();
      case 3:
        return job_step();
      case 4:
        for (unsigned i = below(4); i > 0 && engine_step(); --i) continue;
        if (started > 0 && below(25) == 0 && broker->core().supervisor.pid() != 0) engine_ends();
        return;
      default:
        tick_after(Milliseconds(below(1500)));
        off_loop.run_all();
    }
  }

  void check(const Person& person) {
    for (const std::uint32_t id : person.asked) ASSERT_LE(person.port->terminals(id), 1u) << id;
  }
  // Everything is taken again and has all the time it needs.
  void settle() {
    order(contract::Resume{});
    for (int i = 0; i < 400; ++i) {
      while (engine_step()) continue;
      job_step();
      tick_after(Milliseconds(200));
      off_loop.run_all();
    }
  }

  std::mt19937 random;
  std::unique_ptr<FakeClient> root;
  std::vector<Person> clients;
  std::vector<std::uint32_t> jobs, ordered;
  std::size_t heard = 0;
  int started = 0, killed = 0;
  std::string model;  // its id, the same in every history
  std::uint32_t last_id = 100;
};

TEST_F(DutyTest, EveryRequestEndsOnceWhateverHappensAround) {
  folder.write("a", "weights of a");
  std::map<std::string, int> ends;
  for (unsigned seed = 1; seed <= kHistories; ++seed) {
    SCOPED_TRACE(seed);
    begin(seed);
    for (Person& person : clients) offer_to(person);
    while (engine_step()) continue;
    model = clients[0].port->answer<contract::ModelOffered>(clients[0].asked[0]).model;
    for (int i = 0; i < kSteps && !HasFatalFailure(); ++i) step();
    settle();
    for (const Person& person : clients) {
      check(person);
      if (person.is_gone()) continue;
      for (const std::uint32_t id : person.asked) {
        ASSERT_EQ(person.port->terminals(id), 1u) << "request " << id;
        const OutFrame end = person.port->of(id).back();
        const std::string error = FakeClient::error_in(end);
        ++ends[error.substr(0, error.find(':'))];
      }
    }
    for (const std::uint32_t id : ordered) ASSERT_EQ(root->terminals(id), 1u) << "order " << id;
    ordered.clear();
    for (const Person& person : clients) broker->disconnect(person.port->id);
    broker->disconnect(root->id);
    tick_after(std::chrono::seconds(60));
    while (engine_step()) continue;
    EXPECT_EQ(broker->core().counts.size(), 0u);
    expect_empty_ledger();
    if (HasFailure()) return;
  }
  for (const char* code : {"", "cancelled", "worker_lost", "shutting_down"})
    EXPECT_GT(ends[code], 50) << "these histories hardly ever meet '" << code << "'";
}

}  // namespace
}  // namespace hearth::broker
