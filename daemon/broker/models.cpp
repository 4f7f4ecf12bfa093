#include "daemon/broker/models.h"

#include <algorithm>

#include <fmt/format.h>

namespace hearth::broker {

Result<Model*> Models::add(const ExaminedFiles& examined, const std::string& name) {
  std::unique_ptr<Model>& model = models_[examined.model_id];
  if (model == nullptr) {
    model = std::make_unique<Model>();
    model->id = examined.model_id;
    model->identity = examined.identity;
    model->name = name;
  }
  if (model->identity != examined.identity)
    return fail(Code::kInternal, fmt::format("Two models share the id {}.", examined.model_id),
                "Copy one of the model's files, which gives it another identity.");
  return model.get();
}

Model* Models::find(const std::string& id) {
  const auto found = models_.find(id);
  return found == models_.end() ? nullptr : found->second.get();
}

Model* Models::find_for(ConnectionId client, const std::string& id_or_name) {
  Model* model = find(id_or_name);
  if (model != nullptr && (model->is_public || model->holders.contains(client))) return model;
  for (const auto& [id, candidate] : models_)
    if (candidate->is_public && candidate->name == id_or_name) return candidate.get();
  return nullptr;
}

std::vector<Model*> Models::named(const std::string& id_or_name) {
  if (Model* model = find(id_or_name)) return {model};
  std::vector<Model*> named = all();
  std::erase_if(named, [&](const Model* model) { return model->name != id_or_name; });
  return named;
}

void Models::erase(const std::string& id) {
  if (auto node = models_.extract(id); !node.empty()) erased_.push_back(std::move(node.mapped()));
}

std::size_t Models::open_files() const {
  std::size_t n = 0;
  for (const auto& [id, model] : models_) n += model->files.size();
  return n;
}

std::size_t Models::held_by(ConnectionId client) const {
  return static_cast<std::size_t>(
      std::count_if(models_.begin(), models_.end(),
                    [&](const auto& entry) { return entry.second->holders.contains(client); }));
}

std::size_t Models::in_stage(Stage stage) const {
  return static_cast<std::size_t>(
      std::count_if(models_.begin(), models_.end(),
                    [&](const auto& entry) { return entry.second->stage == stage; }));
}

std::vector<Model*> Models::all() {
  std::vector<Model*> all;
  for (const auto& [id, model] : models_) all.push_back(model.get());
  std::stable_partition(all.begin(), all.end(), [](const Model* m) { return m->is_public; });
  return all;
}

}  // namespace hearth::broker
