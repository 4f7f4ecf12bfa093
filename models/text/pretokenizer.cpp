#include "models/text/pretokenizer.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <algorithm>
#include <chrono>
#include <string>

#include <fmt/format.h>
#include <pcre2.h>

#include "models/text/bytes.h"

namespace hearth::text {
namespace {

constexpr std::size_t kMaxPatternBytes = 4096;
constexpr std::uint32_t kBacktrackDepth = 10'000;
constexpr std::uint32_t kHeapKib = 16 * 1024;
constexpr std::size_t kJitStackBytes = std::size_t{1} << 20;
constexpr auto kTimeLimit = std::chrono::seconds(10);  // natural text: some 20 MB a second

// Oniguruma's \s is White_Space; PCRE2's has U+180E besides.
std::string translated(std::string_view pattern) {
  std::string result;
  for (std::size_t i = 0; i < pattern.size(); ++i) {
    if (pattern[i] != '\\' || i + 1 == pattern.size()) {
      result += pattern[i];
      continue;
    }
    const char escaped = pattern[++i];
    if (escaped == 's')
      result += "\\p{Wspace}";
    else if (escaped == 'S')
      result += "\\P{Wspace}";
    else
      (result += '\\') += escaped;
  }
  return result;
}

template <class T, void (*release)(T*)>
struct Releaser {
  void operator()(T* object) const { release(object); }
};
template <class T, void (*release)(T*)>
using Owned = std::unique_ptr<T, Releaser<T, release>>;

std::string message_of(int error_number) {
  PCRE2_UCHAR text[128];
  pcre2_get_error_message(error_number, text, sizeof text);
  return reinterpret_cast<const char*>(text);
}

Error limit_reached(std::string_view why) {
  return fail(Code::kBadRequest, fmt::format("The text could not be split into words: {}.", why),
              "Shorten the text, or break up its longest runs of one character.");
}

// Walks over one text; what it allocates belongs to it, so the code may be shared by threads.
class Matcher {
 public:
  Matcher(const pcre2_code* code, std::string_view text) : code_(code), text_(text) {
    // Steps that one match may take: some for each byte, so that a long run of spaces passes.
    const auto steps = std::min<std::size_t>(100'000 + 32 * text.size(), 50'000'000);
    pcre2_set_match_limit(context_.get(), static_cast<std::uint32_t>(steps));
    pcre2_set_depth_limit(context_.get(), kBacktrackDepth);
    pcre2_set_heap_limit(context_.get(), kHeapKib);
    pcre2_jit_stack_assign(context_.get(), nullptr, jit_stack_.get());
  }

  // Whether there is another match, in begin() and end().
  Result<bool> find(std::size_t from) {
    const auto outcome =
        pcre2_match(code_, reinterpret_cast<PCRE2_SPTR>(text_.data()), text_.size(), from,
                    PCRE2_NO_UTF_CHECK, data_.get(), context_.get());
    if (outcome == PCRE2_ERROR_NOMATCH) return false;
    if (outcome < 0) return limit_reached(message_of(outcome));
    if (std::chrono::steady_clock::now() > deadline_) return limit_reached("it takes too long");
    return true;
  }

  // \K may set the begin behind the end; such a match counts as empty.
  std::size_t end() const { return pcre2_get_ovector_pointer(data_.get())[1]; }
  std::size_t begin() const { return std::min(pcre2_get_ovector_pointer(data_.get())[0], end()); }

 private:
  const pcre2_code* code_;
  std::string_view text_;
  Owned<pcre2_match_context, pcre2_match_context_free> context_{
      pcre2_match_context_create(nullptr)};
  Owned<pcre2_match_data, pcre2_match_data_free> data_{
      pcre2_match_data_create_from_pattern(code_, nullptr)};
  Owned<pcre2_jit_stack, pcre2_jit_stack_free> jit_stack_{
      pcre2_jit_stack_create(32 * 1024, kJitStackBytes, nullptr)};
  std::chrono::steady_clock::time_point deadline_ = std::chrono::steady_clock::now() + kTimeLimit;
};

}  // namespace

Result<Pretokenizer> Pretokenizer::compile(std::string_view pattern) {
  int error_number = 0;
  PCRE2_SIZE error_position = 0;
  const Owned<pcre2_compile_context, pcre2_compile_context_free> context(
      pcre2_compile_context_create(nullptr));
  pcre2_set_max_pattern_length(context.get(), kMaxPatternBytes);
  const auto portable = translated(pattern);
  pcre2_code* code = pcre2_compile(reinterpret_cast<PCRE2_SPTR>(portable.data()), portable.size(),
                                   PCRE2_UTF | PCRE2_UCP | PCRE2_NEVER_BACKSLASH_C, &error_number,
                                   &error_position, context.get());
  if (!code)
    return fail(Code::kUnsupported,
                fmt::format("The tokenizer's split pattern cannot be used: {} at byte {}.",
                            message_of(error_number), error_position));
  std::shared_ptr<const void> owner(
      code, [](const void* p) { pcre2_code_free(static_cast<pcre2_code*>(const_cast<void*>(p))); });
  pcre2_jit_compile(code, PCRE2_JIT_COMPLETE);  // without it the interpreter is used
  return Pretokenizer(std::move(owner));
}

Result<void> Pretokenizer::split(std::string_view text,
                                 const std::function<void(std::string_view)>& word) const {
  Matcher matcher(static_cast<const pcre2_code*>(code_.get()), text);
  std::size_t done = 0;  // bytes given to `word`
  std::size_t from = 0;  // where the next search begins; ahead of `done` after an empty match
  while (from < text.size()) {
    TRY(const bool found, matcher.find(from));
    if (!found) break;
    const auto begin = std::max(matcher.begin(), done);
    const auto end = std::max(matcher.end(), begin);
    if (begin > done) word(text.substr(done, begin - done));
    if (end > begin) word(text.substr(begin, end - begin));
    done = end;
    from = end > from ? end : from + code_point_at(text, from).bytes;
  }
  if (done < text.size()) word(text.substr(done));
  return {};
}

}  // namespace hearth::text
