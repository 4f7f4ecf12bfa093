#include "daemon/config/nearest.h"

#include <algorithm>
#include <numeric>

namespace hearth::config {
namespace {

constexpr std::size_t kLongestWord = 128;  // longer ones are nobody's slip

// Optimal string alignment: Levenshtein's distance with exchanges of neighbours.
std::size_t distance(std::string_view a, std::string_view b) {
  std::vector<std::size_t> before_last(b.size() + 1);
  std::vector<std::size_t> last(b.size() + 1);
  std::vector<std::size_t> row(b.size() + 1);
  std::iota(last.begin(), last.end(), 0);
  for (std::size_t i = 1; i <= a.size(); ++i) {
    row[0] = i;
    for (std::size_t j = 1; j <= b.size(); ++j) {
      const std::size_t replaced = last[j - 1] + (a[i - 1] == b[j - 1] ? 0 : 1);
      row[j] = std::min({last[j] + 1, row[j - 1] + 1, replaced});
      if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
        row[j] = std::min(row[j], before_last[j - 2] + 1);
    }
    std::swap(before_last, last);
    std::swap(last, row);
  }
  return last[b.size()];
}

}  // namespace

std::string nearest(std::string_view word, const std::vector<std::string>& known) {
  if (word.size() > kLongestWord) return "";
  const std::size_t letters = word.size() - (word.find_last_of("._") + 1);
  std::size_t least = std::max<std::size_t>(1, letters / 3) + 1;
  std::string found;
  for (const std::string& each : known) {
    const std::size_t far = distance(word, each);
    if (far >= least) continue;
    least = far;
    found = each;
  }
  return found;
}

}  // namespace hearth::config
