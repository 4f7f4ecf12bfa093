#include "daemon/broker/examination.h"

#include <memory>

#include <fmt/format.h>

#include "daemon/broker/model_waiters.h"
#include "daemon/broker/residency.h"
#include "shm/base/log.h"

namespace hearth::broker {
namespace {

Error changed(const Model& model) {
  return fail(Code::kModelChanged,
              fmt::format("Files of {} changed after it was {}.", printable(model.name),
                          model.is_public ? "published" : "offered"),
              model.is_public ? "Restart the service, which publishes the new files." : "");
}

void end_examination(Core& core, const std::string& id, std::uint64_t examination,
                     const Result<ExaminedFiles>& examined) {
  Model* model = core.models.find(id);
  if (model == nullptr || model->examination != examination) return;
  leave_examination(*model);
  if (examined && examined->identity == model->identity) {
    model->recheck = false;
  } else {
    model->examine_soon = false;
    end_waiting(core, *model, changed(*model));
  }
  advance(core, *model);
}

}  // namespace

void examine_again(Core& core, Model& model) {
  model.stage = Stage::kExamining;
  model.examination = ++core.last_examination;
  auto work = [&core, id = model.id, n = model.examination, files = model.files,
               labels = model.labels, numerics = model.numerics]() -> OffLoop::Continuation {
    std::vector<int> fds;
    for (const SharedFd& file : files) fds.push_back(file->get());
    auto examined = std::make_shared<Result<ExaminedFiles>>(examine(fds, labels, numerics));
    return [&core, id, n, examined] { end_examination(core, id, n, *examined); };
  };
  model.ticket = core.off_loop.run(OffLoop::Lane::kClientFiles, std::move(work));
  model.examine_deadline = core.now() + (model.ticket == 0 ? Milliseconds(0) : core.config.examine);
  core.timer.wake_at(model.examine_deadline);
}

void leave_examination(Model& model) {
  model.examination = 0;
  model.examine_deadline = TimePoint::max();
  if (model.stage == Stage::kExamining) model.stage = Stage::kDetached;
}

Error files_do_not_answer(const Core& core) {
  return fail(Code::kBadModel,
              fmt::format("The files do not answer within {} ms.", core.config.examine.count()),
              "Is their file system (network, FUSE) alive?");
}

void examinations_tick(Core& core) {
  for (Model* model : core.models.all()) {
    if (model->stage != Stage::kExamining) continue;
    if (core.now() < model->examine_deadline) {
      core.timer.wake_at(model->examine_deadline);
      continue;
    }
    core.off_loop.abandon(model->ticket);
    log::event(log::Level::kWarning, "files_silent", {{"model", model->name}, {"id", model->id}},
               "files of {} ({}) do not answer", printable(model->name), model->id);
    leave_examination(*model);
    model->examine_soon = false;
    end_waiting(core, *model, files_do_not_answer(core));
    advance(core, *model);
  }
}

}  // namespace hearth::broker
