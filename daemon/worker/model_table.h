// The models of this worker: attached files, loaded models, and who uses them.
//
// Every running request and every load counts as a use; an unload waits for the last one to end.
// Any thread; the callbacks run outside the lock, on the thread that ended the wait.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "daemon/worker/model_source.h"
#include "models/model.h"
#include "shm/base/result.h"

namespace hearth::worker {

using SharedModel = std::shared_ptr<models::Model>;

class ModelTable {
 public:
  // Receives what was loaded, null when nothing was.
  using WhenIdle = std::function<void(SharedModel)>;

  struct Use {
    std::shared_ptr<const ModelSource> source;
    SharedModel model;  // null: not loaded
  };
  struct Detached {
    std::shared_ptr<const ModelSource> source;
    std::vector<SharedModel> models;  // loaded or resting
  };

  // Errors: bad_request when the id is known already.
  Result<void> attach(const std::string& id, ModelSource source);
  // Forgets the id; returns what it held. The caller chooses the threads on which that ends.
  Detached detach(const std::string& id);

  // Begins a use, which end_use() ends. Errors: unknown_model for an id that is not attached or
  // that is about to be unloaded.
  Result<Use> begin_use(const std::string& id);
  void end_use(const std::string& id);

  // During a use. Null: not loaded.
  SharedModel loaded(const std::string& id);
  void set_loaded(const std::string& id, SharedModel model);

  // The model that rests under this id; null: none does. To everybody else it is not loaded.
  SharedModel resting(const std::string& id);
  // False: the id is not attached any more, and nothing has changed.
  bool set_resting(const std::string& id, SharedModel model);
  // The same, and it is gone from here.
  SharedModel take_resting(const std::string& id);

  // The files of an attached model; null: it is not. No use: whether it is loaded does not matter.
  std::shared_ptr<const ModelSource> source(const std::string& id);
  // What counts tokens for it; null: not asked for yet. Forgotten with the id.
  std::shared_ptr<const models::TokenCounter> counter(const std::string& id);
  void set_counter(const std::string& id, std::shared_ptr<const models::TokenCounter> counter);

  // The models that are loaded now, by id.
  std::vector<std::pair<std::string, SharedModel>> all_loaded();

  // What loaded models hold of the device, by their plans.
  std::uint64_t held_bytes();

  // Gives up the loaded model when its last use ends. Errors: unknown_model.
  Result<void> unload(const std::string& id, WhenIdle when_idle);

 private:
  struct Entry {
    std::shared_ptr<const ModelSource> source;
    SharedModel model;
    SharedModel resting;
    std::shared_ptr<const models::TokenCounter> counter;
    std::uint32_t uses = 0;
    std::vector<WhenIdle> unloads;  // waiting for uses to reach 0
  };

  Result<Entry*> find(const std::string& id);
  void release_if_idle(const std::string& id);

  std::mutex mutex_;  // of entries_
  std::unordered_map<std::string, Entry> entries_;
};

}  // namespace hearth::worker
