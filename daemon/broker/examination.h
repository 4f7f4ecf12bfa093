// Whether a model's files are still what was offered: asked before every engine process that is to
// use them, for it cannot know. Runs off the loop, within config.examine.
#pragma once

#include "daemon/broker/core.h"

namespace hearth::broker {

// Begins; who waits for the model goes on with advance(), or hears model_changed.
void examine_again(Core& core, Model& model);
// Whatever comes of one that is under way is for nobody.
void leave_examination(Model& model);
// Ends those that take too long.
void examinations_tick(Core& core);
Error files_do_not_answer(const Core& core);

}  // namespace hearth::broker
