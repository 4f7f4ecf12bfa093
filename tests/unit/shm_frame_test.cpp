#include <algorithm>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "shm/frame.h"

namespace hearth {
namespace {

FrameHeaderBytes bytes_of(std::initializer_list<int> values) {
  FrameHeaderBytes bytes{};
  std::transform(values.begin(), values.end(), bytes.begin(),
                 [](int value) { return static_cast<std::byte>(value); });
  return bytes;
}

TEST(Frame, IsLittleEndianInTheDocumentedOrder) {
  const FrameHeader header{
      .body_len = 0x00010203, .request_id = 0xA1B2C3D4, .type = 16, .flags = 0, .n_fds = 0x0081};
  EXPECT_EQ(encode(header), bytes_of({'H', 'R', 'T', '1', 0x03, 0x02, 0x01, 0x00, 0xD4, 0xC3, 0xB2,
                                      0xA1, 16, 0, 0x81, 0x00}));
}

TEST(Frame, DecodesWhatWasEncoded) {
  const FrameHeader header{
      .body_len = kMaxFrameBytes, .request_id = 7, .type = 255, .flags = 0, .n_fds = kMaxFrameFds};
  const auto decoded = decode_header(encode(header), kMaxFrameBytes);
  ASSERT_TRUE(decoded) << decoded.error().what;
  EXPECT_EQ(encode(*decoded), encode(header));
}

struct BadHeader {
  const char* name;
  std::size_t at;
  int value;
  const char* problem;
};

TEST(Frame, EveryBadHeaderIsNamed) {
  const BadHeader table[] = {{"first magic byte", 0, 'h', "HRT1"},
                             {"last magic byte", 3, '2', "HRT1"},
                             {"flags", 13, 1, "flags 1"},
                             {"highest flag", 13, 0x80, "flags 128"},
                             {"one byte over the limit", 4, 1, "1048577 bytes"},
                             {"4 GiB body", 7, 0xFF, "at most 1048576"},
                             {"241 descriptors", 14, 241, "241 descriptors"},
                             {"65280 descriptors", 15, 0xFF, "descriptors"}};
  for (const BadHeader& row : table) {
    FrameHeaderBytes bytes = encode({.body_len = kMaxFrameBytes, .type = 1});
    ASSERT_TRUE(decode_header(bytes, kMaxFrameBytes));
    bytes[row.at] = static_cast<std::byte>(row.value);
    const auto header = decode_header(bytes, kMaxFrameBytes);
    ASSERT_FALSE(header) << row.name;
    EXPECT_EQ(header.error().code, Code::kBadRequest);
    EXPECT_NE(header.error().what.find(row.problem), std::string::npos) << header.error().what;
  }
}

TEST(Frame, GreetingsAreSmaller) {
  const FrameHeader header{.body_len = kMaxGreetingBytes + 1, .type = 1};
  EXPECT_FALSE(decode_header(encode(header), kMaxGreetingBytes));
  EXPECT_TRUE(decode_header(encode(header), kMaxFrameBytes));
}

}  // namespace
}  // namespace hearth
