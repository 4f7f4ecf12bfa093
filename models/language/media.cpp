#include "models/language/media.h"

#include <algorithm>
#include <cmath>

#include <fmt/format.h>

#include "models/image/smart_resize.h"

namespace hearth::language {
namespace {

constexpr std::int64_t kMostFrames = 4096;  // as many as frame_indices can name
constexpr double kLatestSecond = 1e6;       // times become tokens or positions

// Their names and the tensors that are theirs.
class Planner {
 public:
  Planner(std::span<const std::vector<std::int64_t>> shapes, PixelRange range,
          const PromptRules& rules)
      : shapes_(shapes), range_(range), rules_(rules) {}

  Result<void> add(const contract::ContentPart& part) {
    Medium medium;
    medium.is_clip = part.kind == "video";
    int& number = medium.is_clip ? clips_ : pictures_;
    medium.name = fmt::format("{} {}", medium.is_clip ? "video" : "picture", ++number);
    const std::vector<std::int64_t>& shape = shapes_[media_.size()];
    auto planned = medium.is_clip ? plan_clip(part, shape, medium) : plan(part, shape, medium);
    if (!planned) return named(medium, std::move(planned).error());
    const int side = medium.pictures.patch_size * medium.pictures.merge_size;
    medium.step_tokens = medium.seen.height / side * (medium.seen.width / side);
    media_.push_back(std::move(medium));
    return {};
  }

  std::vector<Medium> finish() && { return std::move(media_); }

 private:
  static Error named(const Medium& medium, Error error) {
    error.what = fmt::format("{}: {}", medium.name, error.what);
    return error;
  }

  // One of the limits alone moves the other along when it has to.
  static Result<image::PictureRules> limited(image::PictureRules rules, PixelRange range) {
    if (range.min > 0 && range.max > 0 && range.min > range.max)
      return fail(Code::kBadRequest,
                  fmt::format("min_pixels {} is larger than max_pixels {}", range.min, range.max));
    if (range.min > 0) rules.min_pixels = range.min;
    if (range.max > 0) rules.max_pixels = range.max;
    if (range.max > 0) rules.min_pixels = std::min(rules.min_pixels, range.max);
    rules.max_pixels = std::max(rules.max_pixels, rules.min_pixels);
    return rules;
  }

  Result<void> plan(const contract::ContentPart& part, std::span<const std::int64_t> shape,
                    Medium& medium) const {
    TRY(medium.sent, image::picture_size(shape));
    TRY(const auto request, limited(rules_.pictures, range_));
    TRY(medium.pictures, limited(request, {part.min_pixels, part.max_pixels}));
    TRY(medium.seen, image::smart_resize(medium.sent, medium.pictures.limits()));
    return {};
  }

  Result<void> plan_clip(const contract::ContentPart& part, std::span<const std::int64_t> shape,
                         Medium& medium) const {
    if (rules_.video_token < 0)
      return fail(Code::kUnsupported, "This model's tokenizer has no token for videos.",
                  "Send single frames as pictures.");
    CHECK_OK(check_shape(shape));
    TRY(medium.sent, image::picture_size(shape.subspan(1)));
    medium.frames = shape[0];
    medium.pictures = rules_.pictures;
    const std::int64_t step = rules_.pictures.temporal_patch_size;
    medium.steps = static_cast<std::int32_t>((medium.frames + step - 1) / step);
    TRY(medium.seconds, seconds_of(part, medium.frames));
    const std::int64_t whole = medium.steps * step;
    TRY(const auto request, image::with_limits(rules_.clips, range_.min, range_.max, whole));
    TRY(const auto own, image::with_limits(request, part.min_pixels, part.max_pixels, whole));
    TRY(medium.seen, image::clip_size(medium.sent, medium.frames, own, rules_.pictures));
    return {};
  }

  static Result<void> check_shape(std::span<const std::int64_t> shape) {
    if (shape.size() == 4 && shape[0] > kMostFrames)
      return fail(Code::kBadRequest,
                  fmt::format("It has {} frames; a video has at most {}.", shape[0], kMostFrames),
                  "Send fewer frames, with the frame_indices of those that are sent.");
    if (shape.size() == 4 && shape[0] >= 1) return {};
    return fail(Code::kBadPicture,
                fmt::format("It has shape [{}]; it must be [frames, height, width, channels] with "
                            "at least one frame.",
                            fmt::join(shape, ", ")));
  }

  static Result<std::vector<double>> seconds_of(const contract::ContentPart& part,
                                                std::int64_t frames) {
    if (!(part.fps > 0.0) || !std::isfinite(part.fps))
      return fail(Code::kBadRequest, fmt::format("Its fps is {}.", part.fps),
                  "Say how many frames of its source make a second, such as 24: without it nobody "
                  "knows when a frame was seen.");
    const std::vector<std::int64_t>& indices = part.frame_indices;
    if (!indices.empty() && indices.size() != static_cast<std::size_t>(frames))
      return fail(Code::kBadRequest,
                  fmt::format("It has {} frames and {} frame_indices.", frames, indices.size()),
                  "Send one index for each frame, or none.");
    const auto falls = std::adjacent_find(indices.begin(), indices.end(), std::greater_equal<>());
    if (falls != indices.end())
      return fail(Code::kBadRequest,
                  fmt::format("Its frame_indices do not rise: {} follows {}.", falls[1], falls[0]),
                  "Send the frames in the order of their source, none of them twice.");
    std::vector<double> seconds;
    for (std::int64_t i = 0; i < frames; ++i) {
      const auto index = indices.empty() ? i : indices[static_cast<std::size_t>(i)];
      seconds.push_back(static_cast<double>(index) / part.fps);
    }
    if (seconds.back() > kLatestSecond)
      return fail(Code::kBadRequest,
                  fmt::format("Its last frame would be seen after {:.3g} seconds; a video has at "
                              "most {:.0f}.",
                              seconds.back(), kLatestSecond),
                  "Check fps and frame_indices.");
    return seconds;
  }

  const std::span<const std::vector<std::int64_t>> shapes_;
  const PixelRange range_;
  const PromptRules& rules_;
  int pictures_ = 0, clips_ = 0;
  std::vector<Medium> media_;
};

std::size_t step_frame(const Medium& medium, std::int32_t step) {
  return static_cast<std::size_t>(step) *
         static_cast<std::size_t>(medium.pictures.temporal_patch_size);
}

// The mean of the times of its first and last frame.
std::string time_of(const Medium& medium, std::int32_t step) {
  const std::size_t first = step_frame(medium, step);
  const std::size_t last = std::min(step_frame(medium, step + 1), medium.seconds.size()) - 1;
  return fmt::format("<{:.1f} seconds>", (medium.seconds[first] + medium.seconds[last]) / 2);
}

// Joins texts that follow each other, for BPE must see them as one.
void append(std::vector<text::Piece>& pieces, text::Piece piece) {
  using Kind = text::Piece::Kind;
  if (piece.kind == Kind::kText && !pieces.empty() && pieces.back().kind == Kind::kText)
    pieces.back().text += piece.text;
  else
    pieces.push_back(std::move(piece));
}

}  // namespace

Result<std::vector<Medium>> plan_media(std::span<const contract::ChatMessage> messages,
                                       std::span<const std::vector<std::int64_t>> shapes,
                                       PixelRange range, const PromptRules& rules) {
  Planner planner(shapes, range, rules);
  std::size_t count = 0;
  for (const auto& message : messages)
    for (const auto& part : message.content) count += part.kind != "text";
  if (count != shapes.size())
    return fail(Code::kBadRequest,
                fmt::format("The messages name {} pictures and videos, {} were sent.", count,
                            shapes.size()));
  for (const auto& message : messages)
    for (const auto& part : message.content)
      if (part.kind != "text") CHECK_OK(planner.add(part));
  return std::move(planner).finish();
}

std::vector<contract::SeenPicture> seen_of(std::span<const Medium> media) {
  std::vector<contract::SeenPicture> seen;
  for (const Medium& medium : media)
    seen.push_back({.width = medium.sent.width,
                    .height = medium.sent.height,
                    .seen_width = medium.seen.width,
                    .seen_height = medium.seen.height,
                    .frames = medium.frames,
                    .tokens = static_cast<std::uint32_t>(medium.tokens())});
  return seen;
}

std::vector<Run> runs_of(std::span<const Medium> media, const PromptRules& rules) {
  std::vector<Run> runs;
  for (std::size_t i = 0; i < media.size(); ++i) {
    const std::int32_t together = rules.positions_per_second ? media[i].steps : 1;
    for (std::int32_t step = 0; step < media[i].steps; step += together)
      runs.push_back({i, step, together, together * media[i].step_tokens});
  }
  return runs;
}

std::vector<text::Piece> spell_times(std::vector<text::Piece> pieces, std::span<const Medium> media,
                                     const PromptRules& rules) {
  using Kind = text::Piece::Kind;
  if (rules.positions_per_second) return pieces;
  std::vector<text::Piece> spelled;
  std::size_t run = 0;
  for (std::size_t i = 0; i < pieces.size(); ++i) {
    const text::Piece& piece = pieces[i];
    if (piece.kind != Kind::kMedia) {
      append(spelled, piece);
      continue;
    }
    const Medium& medium = media[piece.media];
    if (!medium.is_clip) {
      spelled.push_back({Kind::kMedia, piece.text, run++});
      continue;
    }
    // The template's own marks around the placeholder become those of each step.
    const text::Piece start = spelled.back();
    const text::Piece end = pieces[++i];
    spelled.pop_back();
    for (std::int32_t step = 0; step < medium.steps; ++step) {
      append(spelled, {Kind::kText, time_of(medium, step), 0});
      spelled.push_back(start);
      spelled.push_back({Kind::kMedia, piece.text, run++});
      spelled.push_back(end);
    }
  }
  return spelled;
}

PlacedPicture placed(const Run& run, std::int32_t first, const Medium& medium,
                     const PromptRules& rules) {
  const int side = medium.pictures.patch_size * medium.pictures.merge_size;
  PlacedPicture place{
      {first, run.tokens}, medium.seen.height / side, medium.seen.width / side, {0}};
  if (!medium.is_clip || !rules.positions_per_second) return place;
  place.times.clear();
  for (std::int32_t step = 0; step < run.steps; ++step) {
    const double since = medium.seconds[step_frame(medium, step)] - medium.seconds.front();
    place.times.push_back(static_cast<std::int32_t>(*rules.positions_per_second * since));
  }
  return place;
}

}  // namespace hearth::language
