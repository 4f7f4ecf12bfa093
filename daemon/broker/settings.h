// From settings to what the broker uses: the one place where keys of daemon/config/table.h and
// members of Config meet.
//
// Pure, but for the size of the machine's memory. Any thread.
#pragma once

#include <vector>

#include "daemon/broker/config.h"
#include "shm/base/log.h"

namespace hearth::broker {

// `base` with all values that settings decide alone. The others stay: ids, the server's name, the
// cache, the admin group, whose number takes a look at the system to know, sources.
Config configured(Config base, const config::Settings& settings);

// What the settings publish, the embedded model aside.
std::vector<NamedFolder> published(const config::Settings& settings);

log::Level log_level(const config::Settings& settings);
// Says it loudly, where the service logs what people write.
void warn_of_prompts(bool are_logged);

}  // namespace hearth::broker
