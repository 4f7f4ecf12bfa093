#include "daemon/worker/model_table.h"

#include <utility>

#include <fmt/format.h>

namespace hearth::worker {

Result<void> ModelTable::attach(const std::string& id, ModelSource source) {
  const std::lock_guard lock(mutex_);
  const auto [entry, added] = entries_.try_emplace(id);
  if (!added) return fail(Code::kBadRequest, fmt::format("Model {} is attached already.", id));
  entry->second.source = std::make_shared<const ModelSource>(std::move(source));
  return {};
}

ModelTable::Detached ModelTable::detach(const std::string& id) {
  const std::lock_guard lock(mutex_);
  const auto node = entries_.extract(id);
  if (node.empty()) return {};
  Entry& entry = node.mapped();
  Detached detached{std::move(entry.source), {}};
  for (SharedModel* model : {&entry.model, &entry.resting})
    if (*model != nullptr) detached.models.push_back(std::move(*model));
  return detached;
}

Result<ModelTable::Use> ModelTable::begin_use(const std::string& id) {
  const std::lock_guard lock(mutex_);
  TRY(Entry * entry, find(id));
  if (!entry->unloads.empty())
    return fail(Code::kUnknownModel, fmt::format("Model {} is being unloaded.", id));
  ++entry->uses;
  return Use{entry->source, entry->model};
}

void ModelTable::end_use(const std::string& id) {
  {
    const std::lock_guard lock(mutex_);
    const auto entry = find(id);
    if (!entry) return;
    --(*entry)->uses;
  }
  release_if_idle(id);
}

SharedModel ModelTable::loaded(const std::string& id) {
  const std::lock_guard lock(mutex_);
  const auto entry = find(id);
  return entry ? (*entry)->model : nullptr;
}

void ModelTable::set_loaded(const std::string& id, SharedModel model) {
  const std::lock_guard lock(mutex_);
  if (const auto entry = find(id)) (*entry)->model = std::move(model);
}

SharedModel ModelTable::resting(const std::string& id) {
  const std::lock_guard lock(mutex_);
  const auto entry = find(id);
  return entry ? (*entry)->resting : nullptr;
}

bool ModelTable::set_resting(const std::string& id, SharedModel model) {
  const std::lock_guard lock(mutex_);
  const auto entry = find(id);
  if (entry) (*entry)->resting = std::move(model);
  return static_cast<bool>(entry);
}

SharedModel ModelTable::take_resting(const std::string& id) {
  const std::lock_guard lock(mutex_);
  const auto entry = find(id);
  return entry ? std::exchange((*entry)->resting, nullptr) : nullptr;
}

std::shared_ptr<const ModelSource> ModelTable::source(const std::string& id) {
  const std::lock_guard lock(mutex_);
  const auto entry = find(id);
  return entry ? (*entry)->source : nullptr;
}

std::shared_ptr<const models::TokenCounter> ModelTable::counter(const std::string& id) {
  const std::lock_guard lock(mutex_);
  const auto entry = find(id);
  return entry ? (*entry)->counter : nullptr;
}

void ModelTable::set_counter(const std::string& id,
                             std::shared_ptr<const models::TokenCounter> counter) {
  const std::lock_guard lock(mutex_);
  if (const auto entry = find(id)) (*entry)->counter = std::move(counter);
}

std::vector<std::pair<std::string, SharedModel>> ModelTable::all_loaded() {
  const std::lock_guard lock(mutex_);
  std::vector<std::pair<std::string, SharedModel>> loaded;
  for (const auto& [id, entry] : entries_)
    if (entry.model) loaded.emplace_back(id, entry.model);
  return loaded;
}

std::uint64_t ModelTable::held_bytes() {
  const std::lock_guard lock(mutex_);
  std::uint64_t bytes = 0;
  for (const auto& [id, entry] : entries_)
    if (entry.model) bytes += entry.model->resident_bytes();
  return bytes;
}

Result<void> ModelTable::unload(const std::string& id, WhenIdle when_idle) {
  {
    const std::lock_guard lock(mutex_);
    TRY(Entry * entry, find(id));
    entry->unloads.push_back(std::move(when_idle));
  }
  release_if_idle(id);
  return {};
}

Result<ModelTable::Entry*> ModelTable::find(const std::string& id) {
  const auto entry = entries_.find(id);
  if (entry == entries_.end())
    return fail(Code::kUnknownModel, fmt::format("Model {} is not attached.", id));
  return &entry->second;
}

void ModelTable::release_if_idle(const std::string& id) {
  SharedModel model;
  std::vector<WhenIdle> unloads;
  {
    const std::lock_guard lock(mutex_);
    const auto entry = find(id);
    if (!entry || (*entry)->uses > 0 || (*entry)->unloads.empty()) return;
    model = std::move((*entry)->model);
    unloads = std::exchange((*entry)->unloads, {});
  }
  for (std::size_t index = 0; index + 1 < unloads.size(); ++index) unloads[index](nullptr);
  unloads.back()(std::move(model));
}

}  // namespace hearth::worker
