#include "models/language/prompt_rules.h"

#include <fmt/format.h>

#include "models/language/text_config.h"

namespace hearth::language {
namespace {

Result<image::PictureRules> picture_rules(const models::ModelFiles& files,
                                          const image::PictureRules& own) {
  TRY(const image::PictureRules rules, image::read_picture_rules(files, own));
  if (rules.patch_size != own.patch_size || rules.merge_size != own.merge_size ||
      rules.temporal_patch_size != own.temporal_patch_size)
    return fail(
        Code::kBadModel,
        fmt::format("preprocessor_config.json cuts patches of {} x {} x {} and merges {}; "
                    "the vision tower wants {} x {} x {} and {}",
                    rules.temporal_patch_size, rules.patch_size, rules.patch_size, rules.merge_size,
                    own.temporal_patch_size, own.patch_size, own.patch_size, own.merge_size));
  return rules;
}

Result<std::int32_t> image_token(const TowerBlueprint& tower, const text::Tokenizer& tokenizer) {
  const auto id = tokenizer.id_of("<|image_pad|>");
  if (!id) return fail(Code::kBadModel, "the tokenizer lacks <|image_pad|>");
  if (tower.image_token && *tower.image_token != *id)
    return fail(Code::kBadModel,
                fmt::format("config.json: image_token_id is {}, the tokenizer's <|image_pad|> {}",
                            *tower.image_token, *id));
  return *id;
}

// -1: there is none.
Result<std::int32_t> video_token(const models::ModelFiles& files,
                                 const text::Tokenizer& tokenizer) {
  const auto id = tokenizer.id_of("<|video_pad|>");
  if (!id) return -1;
  TRY(const files::ConfigValue config, read_config_json(files));
  TRY(const std::int64_t named, config["video_token_id"].integer_or(*id));
  if (named != *id)
    return fail(Code::kBadModel,
                fmt::format("config.json: video_token_id is {}, the tokenizer's <|video_pad|> {}",
                            named, *id));
  return *id;
}

Result<void> read_tower_rules(const models::ModelFiles& files, const TowerBlueprint& tower,
                              PromptRules& rules) {
  TRY(rules.image_token, image_token(tower, *rules.tokenizer));
  TRY(rules.video_token, video_token(files, *rules.tokenizer));
  TRY(rules.pictures, picture_rules(files, tower.pictures));
  TRY(rules.clips, image::read_clip_rules(files, tower.clips, rules.pictures));
  rules.positions_per_second = tower.positions_per_second;
  // Without marks for boxes it was not trained to say where things are.
  if (rules.tokenizer->id_of("<|box_start|>")) rules.coordinates = tower.coordinates;
  return {};
}

// Without these tokens there are no thoughts, whatever the template says.
Result<void> read_thoughts(PromptRules& rules) {
  const auto begin = rules.tokenizer->id_of("<think>");
  const auto end = rules.tokenizer->id_of("</think>");
  if (!begin || !end) {
    rules.layout.thoughts = {};
    return {};
  }
  rules.thoughts.begin = *begin;
  rules.thoughts.end = *end;
  TRY(rules.thoughts.new_line, rules.tokenizer->encode("\n", text::SpecialTokens::kAsText));
  TRY(rules.thoughts.empty_line, rules.tokenizer->encode("\n\n", text::SpecialTokens::kAsText));
  return {};
}

// What a grammar's text is made of: the tokens of plain text.
std::vector<std::string> text_tokens(const text::Tokenizer& tokenizer, std::int32_t vocabulary) {
  std::vector<std::string> tokens(static_cast<std::size_t>(vocabulary));
  for (std::int32_t id = 0; id < vocabulary; ++id) {
    std::string bytes = tokenizer.bytes_of(id);
    if (tokenizer.id_of(bytes) != id) tokens[static_cast<std::size_t>(id)] = std::move(bytes);
  }
  return tokens;
}

}  // namespace

Result<PromptRules> read_rules(const models::ModelFiles& files, const Blueprint& blueprint) {
  PromptRules rules;
  rules.layout = blueprint.layout;
  TRY(const std::string chat_template, text::read_chat_template(files));
  rules.layout = text::layout_by_template(rules.layout, chat_template);
  TRY(rules.tokenizer, text::Tokenizer::load(files));
  if (rules.tokenizer->size() > blueprint.text.vocabulary_size)
    return fail(Code::kBadModel,
                fmt::format("the tokenizer has ids up to {}, the model knows {} tokens",
                            rules.tokenizer->size() - 1, blueprint.text.vocabulary_size));
  CHECK_OK(read_thoughts(rules));
  rules.grammars = std::make_shared<generate::Grammars>(
      [tokenizer = rules.tokenizer, vocabulary = blueprint.text.vocabulary_size] {
        return text_tokens(*tokenizer, vocabulary);
      });
  if (blueprint.tower) CHECK_OK(read_tower_rules(files, *blueprint.tower, rules));
  TRY(rules.defaults, read_defaults(files, {blueprint.text.vocabulary_size, blueprint.end_tokens},
                                    *rules.tokenizer));
  TRY(const std::string warning, text::template_warning(files, rules.layout));
  if (!warning.empty()) rules.warnings.push_back(warning);
  return rules;
}

}  // namespace hearth::language
