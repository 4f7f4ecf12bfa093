// What the holder of a segment's descriptor can do to it, and what the kernel refuses.

#include <cerrno>
#include <cstring>
#include <optional>
#include <span>
#include <string>

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "shm/segment.h"

namespace hearth {
namespace {

constexpr std::uint64_t kBytes = 64 * 1024;
constexpr std::size_t kAt = 8192;  // where tests look and write

// A mapping as a client makes it, with plain system calls.
class RawMap {
 public:
  RawMap(int fd, int protection, int flags)
      : address_(::mmap(nullptr, kBytes, protection, flags, fd, 0)) {}
  RawMap(const RawMap&) = delete;
  RawMap& operator=(const RawMap&) = delete;
  ~RawMap() {
    if (*this) ::munmap(address_, kBytes);
  }
  explicit operator bool() const { return address_ != MAP_FAILED; }
  void* address() const { return address_; }
  volatile std::uint8_t& operator[](std::size_t at) const {
    return static_cast<volatile std::uint8_t*>(address_)[at];
  }

 private:
  void* address_;
};

Fd reopened(const Fd& fd, int flags) {
  const std::string path = "/proc/self/fd/" + std::to_string(fd.get());
  return Fd(::open(path.c_str(), flags | O_CLOEXEC));
}

class OutSeals : public testing::Test {
 protected:
  void SetUp() override {
    auto created = create_out_segment(3, kBytes);
    ASSERT_TRUE(created) << created.error().what;
    segment.emplace(*std::move(created));
    fd = segment->fd.get();
    ours()[kAt] = std::byte{42};
  }
  std::span<std::byte> ours() { return segment->mapping.writable_bytes(); }

  std::optional<OutSegment> segment;
  int fd = -1;
};

TEST_F(OutSeals, TheCreatorWritesAndAClientReads) {
  const RawMap client(fd, PROT_READ, MAP_SHARED);
  ASSERT_TRUE(client);
  EXPECT_EQ(client[kAt], 42);
  ours()[kAt] = std::byte{43};
  EXPECT_EQ(client[kAt], 43);
}

TEST_F(OutSeals, BeginsWithAHeader) {
  OutHeader header;
  std::memcpy(&header, segment->mapping.bytes().data(), sizeof(header));
  EXPECT_EQ(header.magic, OutHeader::kMagic);
  EXPECT_EQ(header.arena, 3U);
  EXPECT_EQ(header.nbytes, kBytes);
  struct stat status {};
  ASSERT_EQ(::fstat(fd, &status), 0);
  EXPECT_GE(static_cast<std::uint64_t>(status.st_blocks) * 512, kBytes) << "not allocated";
}

TEST_F(OutSeals, AWritableSharedMappingIsRefused) {
  EXPECT_FALSE(RawMap(fd, PROT_READ | PROT_WRITE, MAP_SHARED));
  EXPECT_EQ(errno, EPERM);
  EXPECT_FALSE(RawMap(fd, PROT_WRITE, MAP_SHARED));
  EXPECT_FALSE(Mapping::map(segment->fd, kBytes, Access::kReadWrite)) << "not even to ourselves";
}

TEST_F(OutSeals, AReadOnlyMappingCannotBecomeWritable) {
  const RawMap client(fd, PROT_READ, MAP_SHARED);
  ASSERT_TRUE(client);
  EXPECT_EQ(::mprotect(client.address(), kBytes, PROT_READ | PROT_WRITE), -1);
  EXPECT_EQ(errno, EACCES);
  EXPECT_EQ(::mprotect(client.address(), kBytes, PROT_WRITE), -1);
}

TEST_F(OutSeals, WritingThroughTheDescriptorIsRefused) {
  EXPECT_EQ(::write(fd, "x", 1), -1);
  EXPECT_EQ(errno, EPERM);
  EXPECT_EQ(::pwrite(fd, "x", 1, kAt), -1);
  EXPECT_EQ(errno, EPERM);
  EXPECT_EQ(ours()[kAt], std::byte{42});
}

TEST_F(OutSeals, ItsSizeItsPagesAndItsSealsStay) {
  EXPECT_EQ(::ftruncate(fd, 4096), -1);
  EXPECT_EQ(errno, EPERM);
  EXPECT_EQ(::ftruncate(fd, kBytes * 2), -1);
  EXPECT_EQ(errno, EPERM);
  EXPECT_EQ(::fallocate(fd, 0, kBytes, 4096), -1);
  EXPECT_EQ(::fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, kAt, 4096), -1);
  EXPECT_EQ(errno, EPERM);
  EXPECT_EQ(::fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE), -1);
  EXPECT_EQ(errno, EPERM);
  EXPECT_TRUE(check_segment(segment->fd, kBytes, Direction::kOut));
  EXPECT_EQ(ours()[kAt], std::byte{42});
}

TEST_F(OutSeals, AReaderCannotDropThePages) {
  const RawMap client(fd, PROT_READ, MAP_SHARED);
  ASSERT_TRUE(client);
  EXPECT_EQ(::madvise(client.address(), kBytes, MADV_REMOVE), -1);
  ::madvise(client.address(), kBytes, MADV_DONTNEED);  // forgets its own page table only
  EXPECT_EQ(client[kAt], 42);
  EXPECT_EQ(ours()[kAt], std::byte{42});
}

TEST_F(OutSeals, AReopenedDescriptorMayNotWriteEither) {
  const Fd again = reopened(segment->fd, O_RDWR);
  if (again) {
    EXPECT_FALSE(RawMap(again.get(), PROT_READ | PROT_WRITE, MAP_SHARED));
    EXPECT_EQ(::pwrite(again.get(), "x", 1, kAt), -1);
    EXPECT_EQ(::ftruncate(again.get(), 0), -1);
  }
  EXPECT_FALSE(reopened(segment->fd, O_RDWR | O_TRUNC));
  EXPECT_EQ(ours()[kAt], std::byte{42});
  EXPECT_TRUE(check_segment(segment->fd, kBytes, Direction::kOut));
}

TEST_F(OutSeals, APrivateCopyIsWritableAndReachesNobody) {
  const RawMap mine(fd, PROT_READ | PROT_WRITE, MAP_PRIVATE);
  ASSERT_TRUE(mine);
  EXPECT_EQ(mine[kAt], 42);
  mine[kAt] = 7;
  EXPECT_EQ(mine[kAt], 7);
  EXPECT_EQ(ours()[kAt], std::byte{42});
  const RawMap other(fd, PROT_READ, MAP_SHARED);
  ASSERT_TRUE(other);
  EXPECT_EQ(other[kAt], 42);
}

TEST_F(OutSeals, AViewOutlivesItsCreator) {
  const RawMap client(fd, PROT_READ, MAP_SHARED);
  ASSERT_TRUE(client);
  segment.reset();
  EXPECT_EQ(client[kAt], 42);
}

TEST_F(OutSeals, AreNotThoseOfAnInSegment) {
  EXPECT_TRUE(check_segment(segment->fd, kBytes)) << "whoever only reads needs no more";
  const auto in = create_segment(kBytes);
  ASSERT_TRUE(in);
  EXPECT_FALSE(check_segment(*in, kBytes, Direction::kOut));
  EXPECT_FALSE(check_segment(segment->fd, kBytes + 4096, Direction::kOut));
}

TEST(OutSegment, RefusesWhatMemoryCannotHold) {
  EXPECT_EQ(create_out_segment(1, std::uint64_t{1} << 60).error().code, Code::kOutOfMemory);
  EXPECT_FALSE(create_out_segment(1, 0));
}

class InSeals : public testing::Test {
 protected:
  void SetUp() override {
    auto created = create_segment(kBytes);
    ASSERT_TRUE(created) << created.error().what;
    fd = *std::move(created);
    auto mapping = Mapping::map(fd, kBytes, Access::kReadOnly);
    ASSERT_TRUE(mapping);
    worker.emplace(*std::move(mapping));
  }
  Fd fd;
  std::optional<Mapping> worker;
};

TEST_F(InSeals, AClientWritesInEveryWay) {
  const RawMap client(fd.get(), PROT_READ | PROT_WRITE, MAP_SHARED);
  ASSERT_TRUE(client);
  client[kAt] = 9;
  EXPECT_EQ(worker->bytes()[kAt], std::byte{9});
  EXPECT_EQ(::pwrite(fd.get(), "\x0a", 1, kAt), 1);
  EXPECT_EQ(worker->bytes()[kAt], std::byte{10});
}

TEST_F(InSeals, ShrinkingGrowingAndMoreSealsAreRefused) {
  const Fd again = reopened(fd, O_RDWR);
  for (const int holder : {fd.get(), again.get()}) {
    EXPECT_EQ(::ftruncate(holder, 0), -1);
    EXPECT_EQ(errno, EPERM);
    EXPECT_EQ(::ftruncate(holder, kBytes * 2), -1);
    EXPECT_EQ(errno, EPERM);
    EXPECT_EQ(::fallocate(holder, 0, kBytes, 4096), -1);
    for (const int seal : {F_SEAL_WRITE, F_SEAL_FUTURE_WRITE, F_SEAL_SEAL}) {
      EXPECT_EQ(::fcntl(holder, F_ADD_SEALS, seal), -1);
      EXPECT_EQ(errno, EPERM);
    }
  }
  EXPECT_FALSE(reopened(fd, O_RDWR | O_TRUNC));
  EXPECT_TRUE(check_segment(fd, kBytes));
}

// The client's own business: no signal here, only zeros.
TEST_F(InSeals, APunchedHoleReadsAsZeros) {
  const RawMap client(fd.get(), PROT_READ | PROT_WRITE, MAP_SHARED);
  ASSERT_TRUE(client);
  client[kAt] = 9;
  client[4 * kAt] = 9;
  ASSERT_EQ(::fallocate(fd.get(), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, kAt, 4096), 0);
  EXPECT_EQ(worker->bytes()[kAt], std::byte{0});
  ASSERT_EQ(::madvise(client.address(), kBytes, MADV_REMOVE), 0);
  EXPECT_EQ(worker->bytes()[4 * kAt], std::byte{0});
  struct stat status {};
  ASSERT_EQ(::fstat(fd.get(), &status), 0);
  EXPECT_EQ(static_cast<std::uint64_t>(status.st_size), kBytes);
  client[kAt] = 11;
  EXPECT_EQ(worker->bytes()[kAt], std::byte{11});
}

}  // namespace
}  // namespace hearth
