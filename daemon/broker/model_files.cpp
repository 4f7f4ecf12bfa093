#include "daemon/broker/model_files.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <set>
#include <system_error>

#include <boost/uuid/detail/sha1.hpp>
#include <boost/uuid/name_generator_sha1.hpp>
#include <boost/uuid/uuid.hpp>
#include <fcntl.h>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <sys/stat.h>

#include "daemon/broker/message.h"

namespace hearth::broker {
namespace {

constexpr std::size_t kMaxFiles = 240;  // as in messages.toml, labels

bool is_plain_name(const std::string& label) {
  if (label.empty() || label == "." || label == "..") return false;
  return std::none_of(label.begin(), label.end(), [](char c) {
    return c == '/' || static_cast<unsigned char>(c) < 0x20 || c == 0x7F;
  });
}

Error unusable(const std::string& label, std::string_view why) {
  return fail(Code::kBadModel, fmt::format("The file {} {}.", printable(label), why),
              "Open the model's files for reading only and offer them again.");
}

Result<std::string> identity_of(int fd, const std::string& label) {
  const int flags = fcntl(fd, F_GETFL);
  if (flags < 0) return unusable(label, std::strerror(errno));
  if ((flags & O_ACCMODE) != O_RDONLY || (flags & O_PATH) != 0)
    return unusable(label, "is not opened for reading only");
  struct stat file = {};
  if (fstat(fd, &file) != 0) return unusable(label, std::strerror(errno));
  if (!S_ISREG(file.st_mode)) return unusable(label, "is not a regular file");
  return fmt::format("{}\n{} {} {} {}.{:09} {}.{:09}\n", label, file.st_dev, file.st_ino,
                     file.st_size, file.st_mtim.tv_sec, file.st_mtim.tv_nsec, file.st_ctim.tv_sec,
                     file.st_ctim.tv_nsec);
}

// Equal ids are compared by identity again, so the hash need not withstand an attack.
std::string id_of(const std::string& identity) {
  const boost::uuids::uuid none = {};
  const boost::uuids::uuid hash = boost::uuids::name_generator_sha1(none)(identity);
  std::string id;
  for (std::size_t i = 8; i < 16; ++i) id += fmt::format("{:02x}", hash.data[i]);
  return id;
}

// All of a SHA-1: nothing compares these again.
std::string key_of(const std::string& text) {
  boost::uuids::detail::sha1 hash;
  hash.process_bytes(text.data(), text.size());
  boost::uuids::detail::sha1::digest_type digest;
  hash.get_digest(digest);
  std::string key;
  for (const auto part : digest) key += fmt::format("{:0{}x}", part, 2 * sizeof part);
  return key;
}

bool rounds(const Numerics& numerics) {
  return numerics.dtype == "float8" || numerics.dtype == "int8" || numerics.dtype == "int4";
}

bool belongs_to_a_model(const std::filesystem::path& path) {
  static const std::set<std::string> kSuffixes = {".json", ".safetensors", ".txt", ".jinja"};
  return kSuffixes.contains(path.extension().string());
}

Result<std::set<std::string>> list_folder(const std::string& path) {
  std::set<std::string> labels;
  std::error_code error;
  for (std::filesystem::directory_iterator it(path, error), end; !error && it != end;
       it.increment(error)) {
    if (belongs_to_a_model(it->path()) && it->is_regular_file(error))
      labels.insert(it->path().filename().string());
  }
  if (error)
    return fail(Code::kBadModel,
                fmt::format("Cannot read the model folder {}: {}.", path, error.message()),
                "Name another with --model NAME=FOLDER.");
  if (labels.empty())
    return fail(Code::kBadModel, fmt::format("The folder {} holds no model files.", path),
                "Name a folder in the Hugging Face layout: config.json, *.safetensors, …");
  if (labels.size() > kMaxFiles)
    return fail(Code::kBadModel, fmt::format("The folder {} holds {} model files, over {}.", path,
                                             labels.size(), kMaxFiles));
  return labels;
}

}  // namespace

Result<void> check_labels(const std::vector<std::string>& labels, std::size_t n_files) {
  if (labels.empty()) return fail(Code::kBadRequest, "offer_model carries no file.");
  if (labels.size() != n_files)
    return fail(Code::kBadRequest, fmt::format("offer_model has {} labels and {} descriptors.",
                                               labels.size(), n_files));
  std::set<std::string> seen;
  for (const std::string& label : labels) {
    if (!is_plain_name(label))
      return fail(Code::kBadRequest,
                  fmt::format("labels: \"{}\" is not a plain file name.", printable(label)));
    if (!seen.insert(label).second)
      return fail(Code::kBadRequest, fmt::format("labels: {} appears twice.", printable(label)));
  }
  return {};
}

Result<ExaminedFiles> examine(const std::vector<int>& fds, const std::vector<std::string>& labels,
                              const Numerics& numerics) {
  std::vector<std::string> identities;
  for (std::size_t i = 0; i < fds.size(); ++i) {
    TRY(std::string one, identity_of(fds[i], labels[i]));
    identities.push_back(std::move(one));
  }
  std::sort(identities.begin(), identities.end());  // the order of the offer does not matter
  ExaminedFiles examined;
  examined.identity = fmt::format("{} {} {}\n", numerics.dtype, numerics.head, numerics.attention);
  for (const std::string& identity : identities) examined.identity += identity;
  examined.model_id = id_of(examined.identity);
  if (rounds(numerics))
    examined.weights_key =
        key_of(fmt::format("{} {}\n{}", numerics.dtype, numerics.head, fmt::join(identities, "")));
  return examined;
}

Result<OpenedFolder> open_folder(const std::string& path) {
  TRY(const std::set<std::string> labels, list_folder(path));
  OpenedFolder folder;
  for (const std::string& label : labels) {
    const std::string file = path + "/" + label;
    folder.fds.emplace_back(::open(file.c_str(), O_RDONLY | O_CLOEXEC | O_NOCTTY));
    if (!folder.fds.back())
      return fail(Code::kBadModel, fmt::format("Cannot open {}: {}.", file, std::strerror(errno)));
    folder.labels.push_back(label);
  }
  return folder;
}

}  // namespace hearth::broker
