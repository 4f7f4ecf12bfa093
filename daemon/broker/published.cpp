#include "daemon/broker/published.h"

namespace hearth::broker {

Result<PublishedFolder> open_published(const NamedFolder& folder) {
  PublishedFolder published;
  TRY(published.opened, open_folder(folder.path));
  published.numerics.dtype = folder.dtype;
  std::vector<int> fds;
  for (const Fd& fd : published.opened.fds) fds.push_back(fd.get());
  TRY(published.examined, examine(fds, published.opened.labels, published.numerics));
  return published;
}

Result<void> check_published(const std::vector<NamedFolder>& folders) {
  for (const NamedFolder& folder : folders) CHECK_OK(open_published(folder));
  return {};
}

}  // namespace hearth::broker
