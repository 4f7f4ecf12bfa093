// The folders of models that the service publishes: opened and looked at, as examine() does it, on
// the caller's thread. The disk may keep it for as long as it likes.
#pragma once

#include <vector>

#include "daemon/broker/config.h"
#include "daemon/broker/model_files.h"

namespace hearth::broker {

struct PublishedFolder {
  OpenedFolder opened;
  Numerics numerics;
  ExaminedFiles examined;
};

// Errors: bad_model, naming the folder or the file.
Result<PublishedFolder> open_published(const NamedFolder& folder);

// Whether a service could start with all of these. Errors: those of the first that is not in order.
Result<void> check_published(const std::vector<NamedFolder>& folders);

}  // namespace hearth::broker
