#include "shm/segment.h"

#include <cerrno>
#include <cstring>
#include <fstream>
#include <string>

#include <boost/interprocess/mapped_region.hpp>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#ifndef MFD_NOEXEC_SEAL
#define MFD_NOEXEC_SEAL 0x0008U  // Linux 6.3; the name is missing from older headers
#endif

namespace hearth {

namespace {

constexpr int kInSeals = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL;
constexpr int kOutSeals = kInSeals | F_SEAL_FUTURE_WRITE;

Error system_error(Code code, std::string doing) {
  return fail(code, std::move(doing) + ": " + std::strerror(errno));
}

// Boost.Interprocess maps anything that tells it a handle.
struct Mappable {
  int fd;
  boost::interprocess::mapping_handle_t get_mapping_handle() const {
    return boost::interprocess::ipcdetail::mapping_handle_from_file_handle(fd);
  }
};

Fd create_memfd() {
  constexpr unsigned kFlags = MFD_CLOEXEC | MFD_ALLOW_SEALING;
  const int fd = ::memfd_create("hearth", kFlags | MFD_NOEXEC_SEAL);
  if (fd >= 0 || errno != EINVAL) return Fd(fd);
  return Fd(::memfd_create("hearth", kFlags));  // a kernel before 6.3
}

// A forked child has no business with a client's pictures, nor has a core dump. Pages of arenas of
// usual size are mapped at once: touching them one by one costs more than copying the picture.
void advise(void* address, std::size_t nbytes, bool writable) {
  constexpr std::size_t kPopulateBytes = std::size_t{256} << 20;
  ::madvise(address, nbytes, MADV_DONTFORK);
  ::madvise(address, nbytes, MADV_DONTDUMP);
  if (nbytes <= kPopulateBytes)  // Linux 5.14; failing only makes the first use slower
    ::madvise(address, nbytes, writable ? MADV_POPULATE_WRITE : MADV_POPULATE_READ);
}

// fallocate may be interrupted by a signal; it then starts over and skips what it has.
int allocate(const Fd& fd, std::uint64_t nbytes) {
  int result = 0;
  do {
    result = ::fallocate(fd.get(), 0, 0, static_cast<off_t>(nbytes));
  } while (result != 0 && errno == EINTR);
  return result;
}

Result<Fd> create_unsealed(std::uint64_t nbytes) {
  const std::string what = "shared memory of " + std::to_string(nbytes) + " bytes: ";
  const std::uint64_t available_bytes = available_memory_bytes();
  if (!may_allocate(nbytes, available_bytes))
    return fail(Code::kOutOfMemory,
                what + std::to_string(available_bytes) + " bytes of memory are available");
  Fd fd = create_memfd();
  if (!fd) return system_error(Code::kOutOfMemory, what + "memfd_create");
  if (::ftruncate(fd.get(), static_cast<off_t>(nbytes)) != 0)
    return system_error(Code::kOutOfMemory, what + "ftruncate");
  if (allocate(fd, nbytes) != 0) return system_error(Code::kOutOfMemory, what + "fallocate");
  return fd;
}

Result<void> seal(const Fd& fd, int seals) {
  if (::fcntl(fd.get(), F_ADD_SEALS, seals) == 0) return {};
  return system_error(Code::kInternal, "sealing shared memory");
}

}  // namespace

std::uint64_t total_memory_bytes() {
  const long pages = ::sysconf(_SC_PHYS_PAGES);
  const long page_bytes = ::sysconf(_SC_PAGESIZE);
  if (pages <= 0 || page_bytes <= 0) return 0;
  return static_cast<std::uint64_t>(pages) * static_cast<std::uint64_t>(page_bytes);
}

std::uint64_t available_memory_bytes() {
  std::ifstream file("/proc/meminfo");
  std::string key, unit;
  std::uint64_t kib = 0;
  while (file >> key >> kib) {
    if (key == "MemAvailable:") return kib * 1024;
    std::getline(file, unit);
  }
  return 0;
}

bool may_allocate(std::uint64_t nbytes, std::uint64_t available_bytes) {
  return nbytes > 0 && nbytes <= available_bytes - available_bytes / 8;
}

Result<Fd> create_segment(std::uint64_t nbytes) {
  TRY(Fd fd, create_unsealed(nbytes));
  CHECK_OK(seal(fd, kInSeals));
  return fd;
}

// The writable mapping comes before the seals: afterwards nobody gets one, not even we.
Result<OutSegment> create_out_segment(std::uint32_t arena, std::uint64_t nbytes) {
  if (nbytes < sizeof(OutHeader))
    return fail(Code::kInternal, "an out segment has no room for its header");
  TRY(Fd fd, create_unsealed(nbytes));
  TRY(Mapping mapping, Mapping::map_unchecked(fd, nbytes, Access::kReadWrite));
  OutHeader header;
  header.arena = arena;
  header.nbytes = nbytes;
  std::memcpy(mapping.writable_bytes().data(), &header, sizeof(header));
  CHECK_OK(seal(fd, kOutSeals));
  return OutSegment{std::move(fd), std::move(mapping)};
}

Result<void> check_segment(const Fd& fd, std::uint64_t nbytes, Direction direction) {
  const int wanted = direction == Direction::kOut ? kOutSeals : kInSeals;
  const int seals = ::fcntl(fd.get(), F_GET_SEALS);
  if (seals < 0) return fail(Code::kBadRequest, "a descriptor is no memfd");
  if ((seals & kInSeals) != kInSeals)
    return fail(Code::kBadRequest, "a memfd is not sealed against a change of size");
  if ((seals & wanted) != wanted)
    return fail(Code::kBadRequest, "a memfd is not sealed against new writers");
  struct stat status {};
  if (::fstat(fd.get(), &status) != 0) return system_error(Code::kInternal, "fstat of a memfd");
  const auto size = static_cast<std::uint64_t>(status.st_size);
  if (size != nbytes)
    return fail(Code::kBadRequest,
                "a memfd has " + std::to_string(size) + " bytes, not " + std::to_string(nbytes));
  return {};
}

struct Mapping::Region {
  boost::interprocess::mapped_region mapped;
  bool writable;
};

Mapping::Mapping(std::unique_ptr<Region> region) : region_(std::move(region)) {}
Mapping::Mapping(Mapping&&) noexcept = default;
Mapping& Mapping::operator=(Mapping&&) noexcept = default;
Mapping::~Mapping() = default;

Result<Mapping> Mapping::map(const Fd& fd, std::uint64_t nbytes, Access access) {
  CHECK_OK(check_segment(fd, nbytes));
  return map_unchecked(fd, nbytes, access);
}

Result<Mapping> Mapping::map_unchecked(const Fd& fd, std::uint64_t nbytes, Access access) {
  namespace ipc = boost::interprocess;
  const bool writable = access == Access::kReadWrite;
  try {
    const Mappable mappable{fd.get()};
    ipc::mapped_region mapped(mappable, writable ? ipc::read_write : ipc::read_only, 0,
                              static_cast<std::size_t>(nbytes));
    advise(mapped.get_address(), mapped.get_size(), writable);
    return Mapping(std::make_unique<Region>(Region{std::move(mapped), writable}));
  } catch (const ipc::interprocess_exception& exception) {
    return fail(Code::kOutOfMemory, "mapping shared memory of " + std::to_string(nbytes) +
                                        " bytes: " + exception.what());
  }
}

std::span<const std::byte> Mapping::bytes() const {
  return {static_cast<const std::byte*>(region_->mapped.get_address()), region_->mapped.get_size()};
}

std::span<std::byte> Mapping::writable_bytes() {
  if (!region_->writable) return {};
  return {static_cast<std::byte*>(region_->mapped.get_address()), region_->mapped.get_size()};
}

}  // namespace hearth
