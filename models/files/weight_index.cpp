#include "models/files/weight_index.h"

#include <algorithm>
#include <set>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "models/files/config.h"
#include "models/files/formats.h"
#include "models/files/safetensors.h"

namespace hearth::files {
namespace {

constexpr std::string_view kSingleFile = "model.safetensors";
constexpr std::string_view kShardIndex = "model.safetensors.index.json";
constexpr std::string_view kSuffix = ".safetensors";
constexpr JsonLimits kShardIndexLimits{
    .max_bytes = std::size_t{16} << 20, .max_depth = 8, .max_values = 400'000};
constexpr std::uint64_t kMaxTensors = 400'000;  // over all shards

using FileNumbers = std::vector<std::size_t>;

Result<std::size_t> shard_number(const models::ModelFiles& files, std::string_view label) {
  const auto* file = find_file(files, label);
  if (!file)
    return fail(Code::kBadModel,
                fmt::format("{} is missing: {} names it.", shortened(label), kShardIndex),
                "Download the missing shard, then offer the folder again.");
  return static_cast<std::size_t>(file - files.data());
}

Result<ConfigValue> read_weight_map(const models::ModelFiles& files) {
  TRY(const auto root, read_json(files, kShardIndex, kShardIndexLimits));
  auto map = root["weight_map"];
  if (!map.is_object() || map.size() == 0) return map.error("must name the shard of every tensor");
  return map;
}

Result<FileNumbers> listed_shards(const models::ModelFiles& files) {
  TRY(const auto map, read_weight_map(files));
  std::set<std::string_view> labels;
  for (auto item = map.first(); item.exists(); item = item.next()) {
    TRY(const auto label, item.text());
    labels.insert(label);
  }
  FileNumbers shards;
  for (const auto label : labels) {
    TRY(const auto number, shard_number(files, label));
    shards.push_back(number);
  }
  return shards;
}

// A folder without weights is told what its files are instead, where that is known.
Result<FileNumbers> no_weights(const models::ModelFiles& files) {
  for (const auto& file : files) CHECK_OK(refuse_foreign_format(file));
  return fail(Code::kBadModel, "There is no .safetensors file among the model's files.",
              "Offer a folder with model.safetensors, or a .safetensors file.");
}

// Which files hold the tensors. transformers, too, prefers model.safetensors over an index.
Result<FileNumbers> weight_files(const models::ModelFiles& files) {
  FileNumbers candidates;
  for (std::size_t i = 0; i < files.size(); ++i) {
    if (files[i].label == kSingleFile) return FileNumbers{i};
    if (files[i].label.ends_with(kSuffix)) candidates.push_back(i);
  }
  if (find_file(files, kShardIndex)) return listed_shards(files);
  if (candidates.empty() && files.size() == 1) candidates.push_back(0);
  if (candidates.empty()) return no_weights(files);
  if (candidates.size() > 1)
    return fail(Code::kBadModel,
                fmt::format("There are {} .safetensors files, but no {} that says how they belong "
                            "together.",
                            candidates.size(), kShardIndex),
                "Offer one of the files, or the whole folder with its index.");
  return candidates;
}

// Every tensor that the index promises must have come out of its shard.
Result<void> check_promised(const models::ModelFiles& files, const WeightIndex& index) {
  if (find_file(files, kSingleFile) || !find_file(files, kShardIndex)) return {};
  TRY(const auto map, read_weight_map(files));
  for (auto item = map.first(); item.exists(); item = item.next()) {
    TRY(const auto label, item.text());
    const auto* entry = index.find(unified_name(item.key()));
    if (!entry || index.label_of(*entry) != label)
      return fail(Code::kBadModel, fmt::format("Tensor {} is missing from {}, where {} puts it.",
                                               shortened(item.key()), label, kShardIndex));
  }
  return {};
}

}  // namespace

std::string unified_name(std::string_view stored_name) {
  constexpr std::string_view kLanguage = "model.language_model.";
  constexpr std::string_view kVisual = "model.visual.";
  if (stored_name.starts_with(kLanguage))
    return "model." + std::string(stored_name.substr(kLanguage.size()));
  if (stored_name.starts_with(kVisual))
    return "visual." + std::string(stored_name.substr(kVisual.size()));
  return std::string(stored_name);
}

std::string shape_text(std::span<const std::int64_t> shape) {
  return fmt::format("[{}]", fmt::join(shape, ", "));
}

Result<WeightIndex> WeightIndex::read(const models::ModelFiles& files) {
  WeightIndex index;
  index.files_ = files;
  for (const auto& file : files) {
    TRY(const auto identity, identity_of(file));
    index.identities_.push_back(identity);
  }
  TRY(const auto numbers, weight_files(files));
  for (const auto number : numbers) CHECK_OK(index.add_file(number));
  CHECK_OK(index.sort_entries());
  CHECK_OK(check_promised(files, index));
  return index;
}

Result<void> WeightIndex::add_file(std::size_t file) {
  CHECK_OK(refuse_foreign_format(files_[file]));
  TRY(auto header, read_safetensors_header(files_[file]));
  if (entries_.size() + header.tensors.size() > kMaxTensors)
    return fail(Code::kBadModel, fmt::format("The model has more than {} tensors.", kMaxTensors));
  for (auto& tensor : header.tensors) {
    total_bytes_ += tensor.nbytes;
    auto name = unified_name(tensor.name);
    entries_.push_back({std::move(name), std::move(tensor.name), tensor.dtype,
                        std::move(tensor.shape), file, tensor.offset, tensor.nbytes});
  }
  metadata_.merge(header.metadata);
  return {};
}

Result<void> WeightIndex::sort_entries() {
  std::sort(entries_.begin(), entries_.end(),
            [](const auto& a, const auto& b) { return a.name < b.name; });
  const auto twice =
      std::adjacent_find(entries_.begin(), entries_.end(),
                         [](const auto& a, const auto& b) { return a.name == b.name; });
  if (twice == entries_.end()) return {};
  return fail(Code::kBadModel,
              fmt::format("Tensor {} is there twice: in {} as {} and in {} as {}.",
                          shortened(twice->name), label_of(*twice), shortened(twice->stored_name),
                          label_of(*(twice + 1)), shortened((twice + 1)->stored_name)));
}

const WeightEntry* WeightIndex::find(std::string_view name) const {
  const auto place = std::lower_bound(
      entries_.begin(), entries_.end(), name,
      [](const WeightEntry& entry, std::string_view wanted) { return entry.name < wanted; });
  return place != entries_.end() && place->name == name ? &*place : nullptr;
}

Result<const WeightEntry*> WeightIndex::require(std::string_view name) const {
  if (const auto* entry = find(name)) return entry;
  std::set<std::string_view> labels;
  for (const auto& entry : entries_) labels.insert(label_of(entry));
  return fail(Code::kBadModel,
              fmt::format("Tensor {} is in none of: {}.", name, fmt::join(labels, ", ")));
}

Result<const WeightEntry*> WeightIndex::require(std::string_view name,
                                                std::span<const std::int64_t> shape) const {
  TRY(const auto* entry, require(name));
  if (!std::equal(shape.begin(), shape.end(), entry->shape.begin(), entry->shape.end()))
    return fail(Code::kBadModel,
                fmt::format("{}: tensor {} has shape {}, but must have {}.", label_of(*entry),
                            entry->stored_name, shape_text(entry->shape), shape_text(shape)));
  return entry;
}

Result<void> WeightIndex::read_tensor(const WeightEntry& entry, std::span<std::byte> out) const {
  if (out.size() != entry.nbytes)
    return fail(Code::kInternal, fmt::format("{} bytes were kept for tensor {} of {} bytes.",
                                             out.size(), entry.stored_name, entry.nbytes));
  return read_rows(entry, 0, {out.data(), 1, out.size(), out.size()});
}

Result<void> WeightIndex::read_rows(const WeightEntry& entry, std::uint64_t begin,
                                    const RowTarget& target) const {
  const std::uint64_t bytes = std::uint64_t{target.rows} * target.row_bytes;
  if (begin > entry.nbytes || bytes > entry.nbytes - begin)
    return fail(Code::kInternal, fmt::format("{} bytes from byte {} of tensor {} of {} bytes.",
                                             bytes, begin, entry.stored_name, entry.nbytes));
  auto outcome = files::read_rows(files_[entry.file], entry.offset + begin, target);
  if (outcome) return outcome;
  auto error = std::move(outcome).error();
  error.what = fmt::format("Tensor {}: {}", entry.stored_name, error.what);
  return error;
}

void WeightIndex::prefetch(const WeightEntry& entry, std::uint64_t begin,
                           std::uint64_t bytes) const {
  files::prefetch(files_[entry.file], entry.offset + begin, bytes);
}

Result<void> WeightIndex::check_unchanged() const {
  for (std::size_t i = 0; i < files_.size(); ++i) {
    TRY(const auto now, identity_of(files_[i]));
    if (now != identities_[i])
      return fail(Code::kModelChanged,
                  fmt::format("{} changed while it was being read.", files_[i].label));
  }
  return {};
}

}  // namespace hearth::files
