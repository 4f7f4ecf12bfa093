// The models the broker knows: their files, who holds them, and where they are.
//
// Stages: the worker has not heard of it (kDetached), we look whether its files are what was
// offered (kExamining), the worker looks at them (kAttaching), knows it (kCold), reads its weights
// (kLoading), can answer with it (kHot), gives its memory back (kLeaving), keeps its weights in
// pinned memory (kResting), from where kLoading brings them back, too. residency.h moves a model
// between them.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "daemon/broker/clients.h"
#include "daemon/broker/model_files.h"
#include "daemon/broker/weights_cache.h"

namespace hearth::broker {

enum class Stage { kDetached, kExamining, kAttaching, kCold, kLoading, kHot, kLeaving, kResting };

struct Model {
  std::string id;
  std::string name;
  Numerics numerics;
  std::string identity;
  std::vector<std::string> labels;
  std::vector<SharedFd> files;
  std::optional<WeightsCache::File> weights_file;  // none: its weights are not kept on disk
  bool is_public = false;
  bool pinned = false;  // it leaves the device only when an administrator asks for it

  std::string family;           // empty until a worker has recognised it
  contract::MemoryPlan memory;  // what it takes when it is loaded
  std::vector<std::string> warnings;
  std::string arithmetic;  // dtype it computes in; empty until a receipt has said so

  Stage stage = Stage::kDetached;
  JobId call = 0;  // attach, load or unload under way at the worker
  bool load_cancelled = false;
  bool leaves_when_idle = false;
  bool tried_again = false;       // its load, after it lacked memory; see memory_ladder.h
  bool examine_soon = false;      // recognise it although nobody asked yet
  bool recheck = false;           // its files may have changed since they were examined
  std::uint64_t examination = 0;  // under way, in kExamining
  OffLoop::Ticket ticket = 0;     // of the examination
  TimePoint examine_deadline = TimePoint::max();
  TimePoint load_began;
  TimePoint last_used;
  double load_ms = 0.0;           // of the last load
  bool warm_load = false;         // it came from pinned memory
  std::uint64_t image_bytes = 0;  // of its weights in pinned memory; 0: none
  std::uint64_t resident_bytes = 0;
  std::uint32_t loads = 0;
  bool answered = false;  // a request, since it was loaded

  std::set<ConnectionId> holders;
  std::uint32_t waiting_jobs = 0;
  std::uint32_t running_jobs = 0;
  std::vector<Caller> offerers;   // wait for kCold
  std::vector<Caller> loaders;    // wait for kHot
  std::vector<Caller> unloaders;  // wait for the end of kLeaving

  bool wants_heat() const { return waiting_jobs > 0 || !loaders.empty(); }
  // Somebody's request runs on it or waits for it: it cannot leave.
  bool is_at_work() const { return running_jobs > 0 || wants_heat(); }
  bool is_disposable() const {
    return !is_public && holders.empty() && offerers.empty() && unloaders.empty() &&
           !wants_heat() && running_jobs == 0;
  }
};

class Models {
 public:
  // The known model of these files, or a new one. Errors: internal, if two models share an id.
  Result<Model*> add(const ExaminedFiles& examined, const std::string& name);
  Model* find(const std::string& id);
  // What `client` means by `id_or_name`, if it may use it: what it holds, or a public model by id
  // or name.
  Model* find_for(ConnectionId client, const std::string& id_or_name);
  // The model of this id, else all of this name, whoever may use them.
  std::vector<Model*> named(const std::string& id_or_name);
  // Not found any more. The model itself lives until drop_erased(): who goes through all() may come
  // to one that another's end took along.
  void erase(const std::string& id);
  void drop_erased() { erased_.clear(); }

  std::size_t open_files() const;
  std::size_t held_by(ConnectionId client) const;
  std::size_t in_stage(Stage stage) const;
  // Public ones first, then by id.
  std::vector<Model*> all();

 private:
  friend struct handover::Access;
  std::map<std::string, std::unique_ptr<Model>> models_;
  std::vector<std::unique_ptr<Model>> erased_;
};

}  // namespace hearth::broker
