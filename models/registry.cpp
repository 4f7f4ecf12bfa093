// Which family a model's files belong to.

#include <algorithm>
#include <array>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "models/files/config.h"
#include "models/files/formats.h"
#include "models/model.h"

namespace hearth::models {

#define FAMILY(name) const Family& name##_family();
#include "models/families.def"
#undef FAMILY

namespace {

auto built_in() {
  return std::array{
#define FAMILY(name) &name##_family(),
#include "models/families.def"
#undef FAMILY
  };
}

std::vector<const Family*>& served() {
  static std::vector<const Family*> families = [] {
    std::vector<const Family*> product;
    for (const Family* family : built_in())
      if (!family->for_tests) product.push_back(family);
    return product;
  }();
  return families;
}

struct Found {
  const Family* family = nullptr;
  std::vector<std::string> warnings;
};

std::vector<std::string_view> labels_of(const ModelFiles& files) {
  std::vector<std::string_view> labels;
  for (const ModelFile& file : files) labels.push_back(file.label);
  std::sort(labels.begin(), labels.end());
  return labels;
}

std::string declared_type(const ModelFiles& files) {
  const auto config = files::read_json(files, "config.json");
  if (!config) return {};
  const auto type = (*config)["model_type"].text_or("");
  return type && !type->empty() ? fmt::format(" (config.json: model_type {})", *type) : "";
}

// Nobody wants the files: a known foreign format is the better answer than a list of names.
Error refusal(const ModelFiles& files) {
  for (const ModelFile& file : files)
    if (auto known = files::refuse_foreign_format(file); !known) return std::move(known).error();
  std::vector<std::string_view> names;
  for (const Family* family : families()) names.push_back(family->name);
  return fail(Code::kBadModel,
              fmt::format("No model family recognises these files: {}{}.",
                          fmt::join(labels_of(files), ", "), declared_type(files)),
              fmt::format("Families built in: {}.", fmt::join(names, ", ")));
}

// The first family that says "mine". One that says "mine, but unusable" ends the search.
Result<Found> find_family(const ModelFiles& files) {
  Found found;
  for (const Family* family : families()) {
    found.warnings.clear();
    TRY(const bool recognised, family->recognises(files, found.warnings));
    if (!recognised) continue;
    found.family = family;
    return found;
  }
  return refusal(files);
}

}  // namespace

std::span<const Family* const> families() {
  return served();
}

void serve_test_families() {
  const auto all = built_in();
  served().assign(all.begin(), all.end());
}

Result<Detected> detect(const ModelFiles& files) {
  TRY(Found found, find_family(files));
  return Detected{std::string(found.family->name), std::move(found.warnings)};
}

Result<contract::MemoryPlan> plan(const ModelFiles& files, const LoadOptions& options) {
  TRY(const Found found, find_family(files));
  return found.family->plan(files, options);
}

Result<std::shared_ptr<const TokenCounter>> counter(const ModelFiles& files,
                                                    const LoadOptions& options) {
  TRY(const Found found, find_family(files));
  return found.family->counter(files, options);
}

Result<std::shared_ptr<Model>> load(const ModelFiles& files, const LoadOptions& options) {
  TRY(const Found found, find_family(files));
  return found.family->load(files, options);
}

}  // namespace hearth::models
