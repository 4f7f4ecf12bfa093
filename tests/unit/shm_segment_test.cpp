#include <cerrno>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "shm/arena.h"
#include "shm/segment.h"

namespace hearth {
namespace {

constexpr std::uint64_t kBytes = 64 * 1024;

Fd duplicate(const Fd& fd) {
  return Fd(::fcntl(fd.get(), F_DUPFD_CLOEXEC, 0));
}

std::size_t open_descriptors() {
  const std::filesystem::directory_iterator folder("/proc/self/fd");
  return static_cast<std::size_t>(std::distance(begin(folder), end(folder)));
}

TEST(Segment, IsZeroedAndOfExactlyTheSizeAskedFor) {
  for (const std::uint64_t nbytes : {std::uint64_t{1}, std::uint64_t{4097}, kBytes}) {
    const auto fd = create_segment(nbytes);
    ASSERT_TRUE(fd) << fd.error().what;
    struct stat status {};
    ASSERT_EQ(::fstat(fd->get(), &status), 0);
    EXPECT_EQ(static_cast<std::uint64_t>(status.st_size), nbytes);
    EXPECT_GE(static_cast<std::uint64_t>(status.st_blocks) * 512, nbytes) << "not allocated";
    const auto mapping = Mapping::map(*fd, nbytes, Access::kReadOnly);
    ASSERT_TRUE(mapping) << mapping.error().what;
    ASSERT_EQ(mapping->bytes().size(), nbytes);
    for (const std::byte byte : mapping->bytes()) ASSERT_EQ(byte, std::byte{0});
  }
}

// The kernel itself would go on allocating until it kills processes, so these must not reach it.
TEST(Segment, RefusesWhatCannotFitIntoMemory) {
  const auto free_bytes = available_memory_bytes();
  ASSERT_GT(free_bytes, std::uint64_t{1} << 20);
  for (const std::uint64_t nbytes :
       {std::uint64_t{0}, ~std::uint64_t{0}, std::uint64_t{1} << 62, free_bytes * 2}) {
    EXPECT_FALSE(may_allocate(nbytes, free_bytes)) << nbytes;
  }
  EXPECT_TRUE(may_allocate(1, free_bytes));
  EXPECT_TRUE(may_allocate(64 << 20, 1 << 30));
  EXPECT_FALSE(may_allocate(1 << 30, 1 << 30));
}

TEST(Segment, NobodyCanChangeItsSizeOrItsSeals) {
  const auto fd = create_segment(kBytes);
  ASSERT_TRUE(fd);
  EXPECT_EQ(::ftruncate(fd->get(), 0), -1);
  EXPECT_EQ(errno, EPERM);
  EXPECT_EQ(::ftruncate(fd->get(), kBytes * 2), -1);
  EXPECT_EQ(errno, EPERM);
  EXPECT_EQ(::fallocate(fd->get(), 0, kBytes, 4096), -1);
  EXPECT_EQ(::fcntl(fd->get(), F_ADD_SEALS, F_SEAL_WRITE), -1);
  EXPECT_EQ(errno, EPERM);
  const std::vector<char> beyond(16);
  EXPECT_EQ(::pwrite(fd->get(), beyond.data(), beyond.size(), kBytes), -1);
  EXPECT_TRUE(check_segment(*fd, kBytes));
}

TEST(Segment, IsNotInheritedByPrograms) {
  const auto fd = create_segment(kBytes);
  ASSERT_TRUE(fd);
  EXPECT_EQ(::fcntl(fd->get(), F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
}

Fd memfd(unsigned flags, std::uint64_t nbytes, int seals) {
  Fd fd(::memfd_create("test", flags | MFD_CLOEXEC));
  EXPECT_EQ(::ftruncate(fd.get(), static_cast<off_t>(nbytes)), 0);
  EXPECT_TRUE(seals == 0 || ::fcntl(fd.get(), F_ADD_SEALS, seals) == 0);
  return fd;
}

Fd regular_file(std::uint64_t nbytes) {
  char path[] = "/tmp/hearth-segment-XXXXXX";
  Fd fd(::mkstemp(path));
  ::unlink(path);
  EXPECT_EQ(::ftruncate(fd.get(), static_cast<off_t>(nbytes)), 0);
  return fd;
}

Fd pipe_end() {
  int ends[2];
  EXPECT_EQ(::pipe2(ends, O_CLOEXEC), 0);
  ::close(ends[1]);
  return Fd(ends[0]);
}

Fd socket_end() {
  return Fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
}

TEST(Segment, CheckRefusesWhatIsNoSealedMemfdOfThisSize) {
  constexpr int kSeals = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL;
  struct Case {
    const char* name;
    Fd fd;
  };
  Case cases[] = {
      {"not sealable", memfd(0, kBytes, 0)},
      {"not sealed", memfd(MFD_ALLOW_SEALING, kBytes, 0)},
      {"may shrink", memfd(MFD_ALLOW_SEALING, kBytes, F_SEAL_GROW | F_SEAL_SEAL)},
      {"may grow", memfd(MFD_ALLOW_SEALING, kBytes, F_SEAL_SHRINK | F_SEAL_SEAL)},
      {"seals may be added", memfd(MFD_ALLOW_SEALING, kBytes, F_SEAL_SHRINK | F_SEAL_GROW)},
      {"too small", memfd(MFD_ALLOW_SEALING, kBytes - 1, kSeals)},
      {"too large", memfd(MFD_ALLOW_SEALING, kBytes + 1, kSeals)},
      {"regular file", regular_file(kBytes)},
      {"pipe", pipe_end()},
      {"socket", socket_end()},
      {"device", Fd(::open("/dev/zero", O_RDWR | O_CLOEXEC))},
      {"closed", Fd()},
  };
  EXPECT_TRUE(check_segment(memfd(MFD_ALLOW_SEALING, kBytes, kSeals), kBytes));
  for (const Case& row : cases) {
    SCOPED_TRACE(row.name);
    EXPECT_FALSE(check_segment(row.fd, kBytes));
    EXPECT_FALSE(Mapping::map(row.fd, kBytes, Access::kReadOnly));
  }
}

TEST(Segment, CheckOfAnOutSegmentAsksForEverySeal) {
  const int all[] = {F_SEAL_SHRINK, F_SEAL_GROW, F_SEAL_SEAL, F_SEAL_FUTURE_WRITE};
  int every = 0;
  for (const int seal : all) every |= seal;
  EXPECT_TRUE(check_segment(memfd(MFD_ALLOW_SEALING, kBytes, every), kBytes, Direction::kOut));
  for (const int seal : all) {
    const Fd fd = memfd(MFD_ALLOW_SEALING, kBytes, every & ~seal);
    EXPECT_FALSE(check_segment(fd, kBytes, Direction::kOut)) << "without seal " << seal;
  }
}

TEST(Mapping, SharesItsBytesWithEveryOther) {
  const auto fd = create_segment(kBytes);
  ASSERT_TRUE(fd);
  auto writer = Mapping::map(*fd, kBytes, Access::kReadWrite);
  const auto reader = Mapping::map(*fd, kBytes, Access::kReadOnly);
  ASSERT_TRUE(writer && reader);
  ASSERT_EQ(writer->writable_bytes().size(), kBytes);
  writer->writable_bytes()[kBytes - 1] = std::byte{42};
  EXPECT_EQ(reader->bytes()[kBytes - 1], std::byte{42});
}

TEST(Mapping, ReadOnlyGivesNothingToWrite) {
  const auto fd = create_segment(kBytes);
  ASSERT_TRUE(fd);
  auto reader = Mapping::map(*fd, kBytes, Access::kReadOnly);
  ASSERT_TRUE(reader);
  EXPECT_TRUE(reader->writable_bytes().empty());
}

// What the kernel says of the mapping at `address`: "begin-end r--s …" and its flags, abbreviated.
std::string mapping_at(const std::byte* address) {
  std::ifstream maps("/proc/self/smaps");
  char begin[32];
  std::snprintf(begin, sizeof begin, "%lx-", reinterpret_cast<unsigned long>(address));
  std::string line;
  while (std::getline(maps, line) && !line.starts_with(begin)) continue;
  const std::string first = line;
  while (std::getline(maps, line) && !line.starts_with("VmFlags:")) continue;
  return first + " " + line + " ";
}

TEST(Mapping, IsLeftOutOfForksAndCoreDumps) {
  const auto fd = create_segment(kBytes);
  ASSERT_TRUE(fd);
  const auto mapping = Mapping::map(*fd, kBytes, Access::kReadOnly);
  ASSERT_TRUE(mapping);
  const std::string flags = mapping_at(mapping->bytes().data());
  EXPECT_NE(flags.find(" dc "), std::string::npos) << flags;
  EXPECT_NE(flags.find(" dd "), std::string::npos) << flags;
}

TEST(Mapping, KeepsNoDescriptorAndOutlivesIt) {
  const std::size_t before = open_descriptors();
  auto fd = create_segment(kBytes);
  ASSERT_TRUE(fd);
  const auto mapping = Mapping::map(*fd, kBytes, Access::kReadOnly);
  ASSERT_TRUE(mapping);
  fd->reset();
  EXPECT_EQ(open_descriptors(), before);
  EXPECT_EQ(mapping->bytes()[kBytes - 1], std::byte{0});
}

TEST(ArenaTable, FindsWhatWasAttachedAndClosesItsDescriptor) {
  const std::size_t before = open_descriptors();
  ArenaTable table;
  {
    auto fd = create_segment(kBytes);
    ASSERT_TRUE(fd);
    ASSERT_TRUE(table.attach(3, std::move(*fd), kBytes));
  }
  EXPECT_EQ(open_descriptors(), before);
  const auto arena = table.find(3);
  ASSERT_TRUE(arena);
  EXPECT_EQ((*arena)->bytes().size(), kBytes);
  EXPECT_EQ(table.find(4).error().code, Code::kBadTensor);
}

TEST(ArenaTable, MapsForReadingOnly) {
  auto fd = create_segment(kBytes);
  ASSERT_TRUE(fd);
  ArenaTable table;
  ASSERT_TRUE(table.attach(1, *std::move(fd), kBytes));
  const std::string mapping = mapping_at((*table.find(1))->bytes().data());
  EXPECT_NE(mapping.find(" r--s "), std::string::npos) << mapping;
}

TEST(ArenaTable, RefusesAnIdTwiceAndAnUnfitDescriptor) {
  const std::size_t before = open_descriptors();
  {
    ArenaTable table;
    auto fd = create_segment(kBytes);
    ASSERT_TRUE(fd);
    ASSERT_TRUE(table.attach(1, duplicate(*fd), kBytes));
    EXPECT_FALSE(table.attach(1, duplicate(*fd), kBytes));
    EXPECT_FALSE(table.attach(2, duplicate(*fd), kBytes * 2));
    EXPECT_FALSE(table.attach(2, regular_file(kBytes), kBytes));
    EXPECT_EQ(table.size(), 1u);
  }
  EXPECT_EQ(open_descriptors(), before);
}

TEST(ArenaTable, DetachingLeavesARunningRequestItsBytes) {
  ArenaTable table;
  auto fd = create_segment(kBytes);
  ASSERT_TRUE(fd);
  auto writer = Mapping::map(*fd, kBytes, Access::kReadWrite);
  ASSERT_TRUE(writer);
  writer->writable_bytes()[4096] = std::byte{7};
  ASSERT_TRUE(table.attach(9, std::move(*fd), kBytes));
  contract::Tensor claim;
  claim.arena = 9;
  claim.offset = 4096;
  claim.nbytes = 1;
  claim.dtype = "u8";
  claim.shape = {1};
  const contract::Tensor* claims[] = {&claim};
  const auto opened = open_tensors(table, claims);
  ASSERT_TRUE(opened) << opened.error().what;
  EXPECT_TRUE(table.detach(9));
  EXPECT_FALSE(table.detach(9));
  EXPECT_EQ(opened->views.at(0).bytes[0], std::byte{7});
  EXPECT_FALSE(open_tensors(table, claims));
}

}  // namespace
}  // namespace hearth
