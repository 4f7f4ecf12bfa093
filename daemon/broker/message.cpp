#include "daemon/broker/message.h"

#include <algorithm>

#include "shm/base/text.h"

namespace hearth::broker {
namespace {

constexpr std::size_t kMaxWhatBytes = 4096;
constexpr std::size_t kMaxHintBytes = 1024;
constexpr std::size_t kMaxLoggedBytes = 128;

bool is_control(char c) {
  return static_cast<unsigned char>(c) < 0x20 || c == 0x7F;
}

}  // namespace

contract::Error to_message(const Error& error, std::uint32_t retry_after_ms) {
  contract::Error message;
  message.code = std::string(name_of(error.code));
  message.what = cut(error.what, kMaxWhatBytes);
  message.hint = error.hint.empty() ? std::string(hint_of(error.code)) : error.hint;
  message.hint = cut(std::move(message.hint), kMaxHintBytes);
  message.retryable = retryable(error.code);
  message.retry_after_ms = retry_after_ms;
  return message;
}

std::string one_line(std::string text) {
  std::replace_if(text.begin(), text.end(), is_control, '?');
  for (std::size_t i = 0; i + 1 < text.size(); ++i)  // U+0080 to U+009F, which terminals obey too
    if (text[i] == '\xC2' && static_cast<unsigned char>(text[i + 1]) < 0xA0)
      text[i] = text[i + 1] = '?';
  return text;
}

std::string printable(const std::string& text) {
  return one_line(cut(text, kMaxLoggedBytes));
}

}  // namespace hearth::broker
