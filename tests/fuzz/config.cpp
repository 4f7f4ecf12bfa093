// The JSON files of a Qwen3-VL folder. Input: a byte that names the file and the fixture whose
// weights stand beside it, then the file.
#include "models/qwen3_vl/config.h"

#include <array>

#include "models/files/stored_scales.h"
#include "models/image/patchify.h"
#include "models/language/defaults.h"
#include "models/language/text_config.h"
#include "models/text/chat.h"
#include "tests/fuzz/fuzz.h"

namespace hearth::fuzz {
namespace {

using files::ConfigValue;

struct Beside {
  files::WeightIndex index;
  qwen3_vl::Config config;
  std::shared_ptr<const text::Tokenizer> tokenizer;
};

Result<Beside> load(const std::string& name) {
  const models::ModelFiles files = fixture(name);
  TRY(auto index, files::WeightIndex::read(files));
  TRY(const auto json, language::read_config_json(files));
  TRY(auto config, qwen3_vl::read_config(json, index));
  TRY(auto tokenizer, text::Tokenizer::load(files));
  return Beside{std::move(index), std::move(config), std::move(tokenizer)};
}

const Beside& beside(std::uint8_t choice) {
  static const std::array<Beside, 2> loaded = [] {
    auto tied = load("tied_bf16");
    auto untied = load("untied_shards_f32");
    expect(tied && untied, "the fixtures load");
    return std::array{*std::move(tied), *std::move(untied)};
  }();
  return loaded[choice % loaded.size()];
}

// Every value says where it stands, whatever its kind; no getter takes what it does not promise.
void walk(const ConfigValue& value) {
  expect(!value.path().empty(), "a value has a place");
  const auto integer = value.integer(-5, 1'000);
  expect(!integer || (*integer >= -5 && *integer <= 1'000), "an integer keeps its bounds");
  expect(!value.text() || value.is_string(), "a text is a string");
  (void)value.number();
  (void)value.integers();
  std::size_t children = 0;
  for (auto item = value.first(); item.exists(); item = item.next(), ++children) walk(item);
  expect(children == value.size(), "size() counts what first() and next() show");
}

void read_config(const ConfigValue& json, const Beside& rest) {
  (void)qwen3_vl::has_our_names(rest.index);
  const auto config = qwen3_vl::read_config(json, rest.index);
  if (!config) return;
  expect(bool(decoder::check(config->text)), "a config that is taken has a decoder that fits");
  expect(config->vision.head_dim() > 0 && config->vision.patch_floats() > 0,
         "a config that is taken has a vision tower of some size");
  for (const auto& [name, shape] : config->tensors)
    if (!rest.index.require(name, shape)) return;
  for (const auto& [name, shape] : config->tensors)
    expect(rest.index.find(name) != nullptr && rest.index.find(name)->shape == shape,
           "every tensor a model needs is there");
}

void read_defaults(const models::ModelFiles& files, const Beside& rest) {
  const auto defaults = language::read_defaults(
      files, {rest.config.text.vocabulary_size, rest.config.end_tokens}, *rest.tokenizer);
  if (!defaults) return;
  expect(!defaults->end_ids.empty(), "an answer can end");
  for (const std::int32_t id : defaults->end_ids)
    expect(id >= 0 && id < rest.config.text.vocabulary_size, "an end token is one of the model's");
}

}  // namespace
}  // namespace hearth::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace hearth;
  static fuzz::MemoryFile memory[] = {
      fuzz::MemoryFile("config.json"), fuzz::MemoryFile("generation_config.json"),
      fuzz::MemoryFile("preprocessor_config.json"), fuzz::MemoryFile("tokenizer_config.json")};
  fuzz::Input input(data, size);
  const std::uint8_t choice = input.byte();
  const fuzz::Beside& rest = fuzz::beside(choice / 4);
  const models::ModelFiles files = {memory[choice % 4].with(input.rest())};
  const auto json = files::read_json(files, files[0].label);
  if (json) fuzz::walk(*json);
  switch (choice % 4) {
    case 0:
      (void)files::read_stored_scales(files, rest.index);
      if (json) fuzz::read_config(*json, rest);
      return 0;
    case 1:
      fuzz::read_defaults(files, rest);
      return 0;
    case 2:
      if (const auto rules = image::read_picture_rules(files, {}); rules)
        fuzz::expect(rules->patch_size > 0 && rules->min_pixels <= rules->max_pixels,
                     "rules that are taken fit each other");
      return 0;
    default:
      (void)text::template_warning(files, {});
      return 0;
  }
}
