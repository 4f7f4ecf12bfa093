// How a state travels: the sealed memory, the numbers of formats, and states that are older, newer
// or broken.
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <random>
#include <sstream>

#include <fcntl.h>
#include <sys/mman.h>

#include "daemon/broker/handover/format.h"
#include "daemon/broker/handover/replace.h"
#include "daemon/broker/handover/state.h"
#include "daemon/broker/net/saved.h"
#include "tests/unit/broker_for_test.h"

namespace hearth::broker::handover {
namespace {

const std::string kRecorded = HEARTH_SOURCE_DIR "/tests/data/handover/state_1.bin";
constexpr int kSeals = F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE;

Fd memfd_of(const std::string& bytes, int seals = kSeals) {
  Fd memfd(::memfd_create("test", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  EXPECT_EQ(::write(memfd.get(), bytes.data(), bytes.size()), static_cast<ssize_t>(bytes.size()));
  EXPECT_EQ(::fcntl(memfd.get(), F_ADD_SEALS, seals), 0);
  return memfd;
}

std::string bytes_in(const Fd& memfd) {
  std::string bytes(static_cast<std::size_t>(::lseek(memfd.get(), 0, SEEK_END)), '\0');
  EXPECT_EQ(::pread(memfd.get(), bytes.data(), bytes.size(), 0),
            static_cast<ssize_t>(bytes.size()));
  return bytes;
}

Program program(std::uint32_t format, std::uint32_t oldest, std::uint32_t readable) {
  return {"1.2.3", format, oldest, readable};
}

TEST(HandoverFormat, AStateArrivesWithItsDescriptorsNumbersAndCannotBeChanged) {
  const auto memfd = write_state("some bytes", {7, 9});
  ASSERT_TRUE(memfd);
  EXPECT_LT(::write(memfd->get(), "x", 1), 0);
  const auto state = read_state(memfd->get());
  ASSERT_TRUE(state) << state.error().what;
  EXPECT_EQ(state->bytes, "some bytes");
  EXPECT_EQ(state->descriptors, (std::vector<int>{7, 9}));
  EXPECT_EQ(state->format, kFormat);
}

TEST(HandoverFormat, AStateOverTheBoundIsRefusedWithWhatMakesItLarge) {
  constexpr std::size_t kBytes = kMostStateBytes + 1;
  void* const nothing = ::mmap(nullptr, kBytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  ASSERT_NE(nothing, MAP_FAILED);
  const auto memfd = write_state({static_cast<const char*>(nothing), kBytes}, {});
  ::munmap(nothing, kBytes);
  ASSERT_FALSE(memfd);
  EXPECT_EQ(memfd.error().code, Code::kBusy);
  EXPECT_NE(memfd.error().what.find("requests that are open"), std::string::npos);
}

TEST(HandoverFormat, WhatIsNoStateIsRefused) {
  const std::string good = bytes_in(*write_state("some bytes", {7}));
  EXPECT_TRUE(read_state(memfd_of(good).get()));
  EXPECT_FALSE(read_state(memfd_of(good, 0).get())) << "not sealed";
  EXPECT_FALSE(read_state(memfd_of("").get()));
  EXPECT_FALSE(read_state(memfd_of(std::string(100, 'x')).get()));
  EXPECT_FALSE(read_state(memfd_of(good + "x").get()));
  EXPECT_FALSE(read_state(-1));
  for (std::size_t i = 0; i < good.size(); ++i) {
    if (i >= 8 && i < 12) continue;  // a later format is as good, if it can be read
    std::string changed = good;
    changed[i] = static_cast<char>(changed[i] ^ 0x40);
    EXPECT_FALSE(read_state(memfd_of(changed).get())) << "byte " << i;
    EXPECT_FALSE(read_state(memfd_of(good.substr(0, i)).get())) << i << " bytes";
  }
}

TEST(HandoverFormat, AnUnknownFormatIsSaidToBeOne) {
  std::string later = bytes_in(*write_state("some bytes", {}));
  later[8] = later[12] = 99;
  const auto state = read_state(memfd_of(later).get());
  ASSERT_FALSE(state);
  EXPECT_EQ(state.error().code, Code::kVersion);
}

TEST(HandoverFormat, ProgramsSucceedEachOtherOneFormatUpAndDown) {
  EXPECT_TRUE(check_succession(program(3, 2, 2), program(3, 2, 2)));
  EXPECT_TRUE(check_succession(program(3, 2, 2), program(4, 3, 3))) << "to the next";
  EXPECT_TRUE(check_succession(program(3, 2, 2), program(2, 1, 1))) << "and back";
  EXPECT_FALSE(check_succession(program(3, 2, 3), program(2, 1, 1))) << "no way back";
  EXPECT_FALSE(check_succession(program(3, 2, 2), program(5, 4, 4))) << "two steps at once";
  EXPECT_FALSE(check_succession(program(3, 2, 2), program(1, 1, 1)));
}

TEST(HandoverFormat, AProgramsAnswerIsOneLine) {
  const auto read = from_line(to_line(program(5, 4, 3)));
  ASSERT_TRUE(read);
  EXPECT_EQ(to_line(*read), to_line(program(5, 4, 3)));
  for (const char* line :
       {"", "hearthd 1 state 1 reads 1", "hearthd 1 state x reads 1 readable 1\n",
        "hearthd 1 state 1 reads 1 readable 1 and more\n", "hello\n"})
    EXPECT_FALSE(from_line(line)) << line;
}

TEST(HandoverFormat, TheWordForATakeOverIsNoArgumentOfTheProgram) {
  std::string name = "hearthd", word = "--take-over=57", first = "--socket", second = "x";
  char* argv[] = {name.data(), word.data(), first.data(), second.data(), nullptr};
  int argc = 4;
  const Role role = take_role(argc, argv);
  EXPECT_EQ(role.take_over, 57);
  EXPECT_FALSE(role.is_asked);
  EXPECT_EQ(role.arguments, (std::vector<std::string>{"--socket", "x"}));
  EXPECT_EQ(argc, 3);
  EXPECT_STREQ(argv[1], "--socket");
  EXPECT_EQ(argv[3], nullptr);
  int no_more = 1;
  char* alone[] = {name.data(), nullptr};
  EXPECT_TRUE(take_role(no_more, alone).arguments.empty());
}

// A start as another format would have it: one field more, one less.
struct OtherStart {
  std::string boot_id = "boot";
  std::string path = "/run/x";
  std::string color = "red";
};

std::string start_of_another_format(bool with_more, bool with_less) {
  Saver saver;
  const OtherStart start;
  const Number none;
  if (with_more && !with_less)
    saver.fields("boot_id, socket, lock, path, announced, color", start.boot_id, none, none,
                 start.path, true, start.color);
  else if (with_less)
    saver.fields("boot_id, path", start.boot_id, start.path);
  return saver.bytes();
}

TEST(HandoverFormat, AnotherFormatsFieldsAreFoundByNameAndTheRestIsPassedOver) {
  for (const bool is_older : {true, false}) {
    const std::string bytes = start_of_another_format(!is_older, is_older);
    SavedStart start;
    Loader lenient(bytes, is_older ? kFormat - 1 : kFormat + 1, {});
    load(lenient, start);
    ASSERT_TRUE(lenient.result()) << lenient.result().error().what;
    EXPECT_EQ(start.boot_id, "boot");
    EXPECT_EQ(start.path, "/run/x");
    EXPECT_EQ(start.announced, !is_older);
    Loader strict(bytes, kFormat, {});
    load(strict, start);
    EXPECT_FALSE(strict.result()) << "under the same format it is an error";
  }
}

// Loads the recorded state into a broker. Its descriptors are stood in for by others.
struct Recorded : BrokerTest {
  using BrokerTest::timer;
  void TestBody() override {}
  const Core& core() const { return broker->core(); }
  Result<void> load(const std::string& bytes, std::uint32_t format,
                    const std::vector<int>& descriptors) {
    SavedStart start;
    SavedTraffic traffic;
    Loader loader(bytes, format, descriptors);
    loader.adopt_with([](Fd fd) {
      fd.release();  // a number of another process
      return std::make_shared<const Fd>(Fd(::open("/dev/null", O_RDONLY | O_CLOEXEC)));
    });
    broker::load(loader, start);
    auto restored = broker->restore(loader);
    if (restored) broker::load(loader, traffic);
    loader.disown();
    return restored ? loader.result() : restored;
  }
};

TEST(HandoverFormat, AStateThatAnEarlierVersionRecordedIsUnderstood) {
  std::ifstream file(kRecorded, std::ios::binary);
  std::stringstream content;
  content << file.rdbuf();
  const auto state = read_state(memfd_of(content.str()).get());
  ASSERT_TRUE(state) << state.error().what;
  EXPECT_EQ(state->format, 1u) << "what it lacks has its default";
  Recorded recorded;
  recorded.timer.pass(std::chrono::hours(24));
  const auto loaded = recorded.load(state->bytes, state->format, state->descriptors);
  ASSERT_TRUE(loaded) << loaded.error().what;
  const Core& core = recorded.core();
  EXPECT_EQ(core.clients.size(), 3u);
  EXPECT_FALSE(core.jobs.empty());
  EXPECT_TRUE(core.supervisor.is_ready());
  EXPECT_GT(core.last_job, 0u);
  const double up_ms = milliseconds_between(core.started, recorded.timer.now());
  EXPECT_GT(up_ms, 0);
  EXPECT_NEAR(static_cast<double>(core.started_unix_ms), static_cast<double>(unix_ms()) - up_ms,
              60'000);
}

TEST(HandoverFormat, ABrokenStateIsAnErrorAndNothingWorse) {
  std::ifstream file(kRecorded, std::ios::binary);
  std::stringstream content;
  content << file.rdbuf();
  const auto state = read_state(memfd_of(content.str()).get());
  ASSERT_TRUE(state);
  std::mt19937 random(7);
  for (std::size_t n = 0; n < state->bytes.size(); n += 1 + random() % 97) {
    Recorded cut;
    EXPECT_FALSE(cut.load(state->bytes.substr(0, n), state->format, state->descriptors)) << n;
    std::string changed = state->bytes;
    for (int i = 0; i < 3; ++i) changed[random() % changed.size()] = static_cast<char>(random());
    Recorded other;
    (void)other.load(changed, state->format, state->descriptors);  // an error or not, but no crash
  }
}

// Descriptors of these numbers, for which states are written.
constexpr int kFirstNumber = 300;

bool is_open(int fd) {
  return ::fcntl(fd, F_GETFD) >= 0;
}

SavedTraffic traffic_of(const std::vector<int>& numbers) {
  SavedTraffic traffic;
  for (const int fd : numbers) {
    EXPECT_EQ(::dup3(STDIN_FILENO, fd, O_CLOEXEC), fd);
    SavedSession session;
    session.channel.stream.fd = fd;
    session.process.fd = -1;
    traffic.sessions.push_back(std::move(session));
  }
  return traffic;
}

TEST(HandoverFormat, ConnectionsAreTheirLoadersOnceAllOfThemAreThere) {
  const std::vector<int> numbers = {kFirstNumber, kFirstNumber + 1, kFirstNumber + 2};
  for (const bool is_broken : {false, true}) {
    Saver saver;
    save(saver, traffic_of(numbers));
    std::string bytes = saver.bytes();
    if (is_broken) bytes[bytes.rfind("process_gone")] = 'x';  // of the last
    SavedTraffic loaded;
    {
      Loader loader(bytes, kFormat, numbers);
      load(loader, loaded);
      ASSERT_EQ(static_cast<bool>(loader.result()), !is_broken);
      EXPECT_EQ(loaded.sessions.size(), numbers.size()) << "it breaks off late";
    }
    for (const int fd : numbers) {
      EXPECT_EQ(is_open(fd), !is_broken) << "a client would wait at it for ever";
      if (!is_broken) ::close(fd);
    }
  }
}

}  // namespace
}  // namespace hearth::broker::handover
