#include "models/language/prompt_rules.h"

#include <fmt/format.h>

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
  if (blueprint.tower) {
    TRY(rules.image_token, image_token(*blueprint.tower, *rules.tokenizer));
    TRY(rules.pictures, picture_rules(files, blueprint.tower->pictures));
  }
  TRY(rules.defaults, read_defaults(files, {blueprint.text.vocabulary_size, blueprint.end_tokens},
                                    *rules.tokenizer));
  TRY(const std::string warning, text::template_warning(files, rules.layout));
  if (!warning.empty()) rules.warnings.push_back(warning);
  return rules;
}

}  // namespace hearth::language
