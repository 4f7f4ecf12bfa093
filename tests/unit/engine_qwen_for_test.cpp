#include "tests/unit/engine_qwen_for_test.h"

#include <cmath>

#include "tests/unit/folder_for_test.h"

namespace hearth::language {

std::filesystem::path case_folder(const std::string& name) {
  const auto data = std::filesystem::path(HEARTH_SOURCE_DIR) / "tests" / "data";
  return name.find('/') == std::string::npos ? data / "qwen3_vl" / name : data / name;
}

models::ModelFiles without(models::ModelFiles files, std::string_view label) {
  std::erase_if(files, [&](const models::ModelFile& file) { return file.label == label; });
  return files;
}

models::ModelFiles case_files(const std::string& name) {
  return without(models::open_folder(case_folder(name)), "oracle.safetensors");
}

void must(Result<void> result) {
  if (!result) throw std::runtime_error(result.error().what);
}

namespace {

// One file of a folder.
models::ModelFiles only(const std::filesystem::path& folder, const std::string& label) {
  models::ModelFiles files = models::open_folder(folder);
  std::erase_if(files, [&](const models::ModelFile& file) { return file.label != label; });
  return files;
}

}  // namespace

const files::WeightEntry& Oracle::entry(const std::string& name) const {
  return *must(index_.require(name));
}

template <class T>
std::vector<T> Oracle::read(const std::string& name) const {
  std::vector<T> values(entry(name).nbytes / sizeof(T));
  must(index_.read_tensor(entry(name), std::as_writable_bytes(std::span(values))));
  return values;
}

Oracle::Oracle(const std::string& name) : Oracle(case_folder(name), "oracle.safetensors") {}
Oracle::Oracle(const std::filesystem::path& folder, const std::string& label)
    : index_(must(files::WeightIndex::read(only(folder, label)))) {}

bool Oracle::has(const std::string& name) const {
  return index_.find(name) != nullptr;
}
std::vector<std::int64_t> Oracle::shape(const std::string& name) const {
  return entry(name).shape;
}
std::vector<float> Oracle::floats(const std::string& name) const {
  return read<float>(name);
}
std::vector<std::int32_t> Oracle::integers(const std::string& name) const {
  return read<std::int32_t>(name);
}
std::vector<std::uint8_t> Oracle::bytes(const std::string& name) const {
  return read<std::uint8_t>(name);
}

// u8 [patches, 3, 2, side, side], put together again.
image::Still read_still(const Oracle& oracle, const std::string& input, std::size_t picture) {
  constexpr int kMerge = 2, kFrames = 2, kChannels = 3;
  const std::vector<std::int32_t> grids = oracle.integers(input + ".grids");
  image::Still still{grids[2 * picture], grids[2 * picture + 1], {}};
  const auto bytes = oracle.bytes(input + ".patches." + std::to_string(picture));
  const auto row_bytes = static_cast<int>(bytes.size()) / static_cast<int>(still.count());
  const int side = static_cast<int>(std::lround(std::sqrt(row_bytes / (kFrames * kChannels))));
  still.picture.size = still.size(side);
  still.picture.pixels.resize(bytes.size() / kFrames);
  for (int row = 0; row < still.count(); ++row) {
    const int token = row / (kMerge * kMerge), across = still.grid_width / kMerge;
    const int top = (token / across * kMerge + row / kMerge % kMerge) * side;
    const int left = (token % across * kMerge + row % kMerge) * side;
    for (int i = 0; i < kChannels * side * side; ++i) {
      const int channel = i / (side * side), y = i / side % side, x = i % side;
      const int from = row * row_bytes + channel * kFrames * side * side + y * side + x;
      const int to = ((top + y) * still.picture.size.width + left + x) * kChannels + channel;
      still.picture.pixels[static_cast<std::size_t>(to)] = bytes[static_cast<std::size_t>(from)];
    }
  }
  return still;
}

double max_difference(std::span<const float> a, std::span<const float> b) {
  EXPECT_EQ(a.size(), b.size());
  double most = 0.0;
  for (std::size_t i = 0; i < a.size() && i < b.size(); ++i)
    most = std::max(most, std::abs(static_cast<double>(a[i]) - static_cast<double>(b[i])));
  return most;
}

double relative_difference(std::span<const float> a, std::span<const float> b) {
  EXPECT_EQ(a.size(), b.size());
  double difference = 0.0, size = 0.0;
  for (std::size_t i = 0; i < a.size() && i < b.size(); ++i) {
    difference += std::pow(static_cast<double>(a[i]) - static_cast<double>(b[i]), 2);
    size += std::pow(static_cast<double>(b[i]), 2);
  }
  return std::sqrt(difference / size);
}

}  // namespace hearth::language
