#include "models/weights/loader.h"

#include <algorithm>
#include <atomic>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include <fmt/format.h>

#include "models/decoder/device_memory.h"
#include "models/kernels/formats.h"
#include "models/weights/convert.h"
#include "models/weights/pieces.h"
#include "models/weights/share_out.h"
#include "models/weights/stored_codes.h"

namespace hearth::weights {
namespace {

constexpr std::uint64_t kPieceBytes = std::uint64_t{4} << 20;
// What is fetched ahead of the reading threads: enough for a disk's queue, little enough that it is
// still in memory when its turn comes.
constexpr std::uint64_t kAheadBytes = std::uint64_t{64} << 20;
// Copying out of the page cache is at the limit of memory with these, whatever the machine.
constexpr std::size_t kMostReaders = 8;
// Scattered reads of shorter rows cost more than a copy.
constexpr std::size_t kLeastScatteredBytes = 1024;

// Memory of one thread that grows to its largest piece.
class Scratch {
 public:
  Result<std::byte*> of(std::uint64_t bytes) {
    if (region_.bytes() < bytes) {
      TRY(region_, Region::map(bytes));
    }
    return region_.data();
  }

 private:
  Region region_;
};
struct Staging {
  Scratch stored;  // as in the file
  Scratch values;  // its codes times their scales
  // What is in it: gate and up can lie in one transposed matrix.
  const files::WeightEntry* entry = nullptr;
  std::uint64_t begin = 0;
  std::size_t bytes = 0;
  Scratch turned;   // transposed back
  Scratch widened;  // f32 for rounding
};

std::uint64_t source_bytes(const Placement& placement, const Piece& piece) {
  std::uint64_t bytes = 0;
  for (const Source& source : placement.sources)
    bytes += static_cast<std::uint64_t>(rows_of(source, piece).rows * placement.columns) *
             hearth::item_bytes(source.entry->dtype);
  return bytes;
}

// One source's part in a piece.
struct Part {
  const Placement& placement;
  const Source& source;
  SourceRows rows;

  // Codes that lie in the arena as f32 or rounded anew.
  bool is_widened() const { return source.scale != nullptr && !placement.keeps_codes; }
  // As read() gives it.
  DType read_type() const { return is_widened() ? DType::kF32 : source.entry->dtype; }
  std::int64_t stored_columns() const {
    return source.is_transposed() ? source.stored_columns : placement.columns;
  }
  std::size_t elements() const { return static_cast<std::size_t>(rows.rows * placement.columns); }
  std::size_t row_bytes() const {
    return static_cast<std::size_t>(placement.columns) * hearth::item_bytes(read_type());
  }
  // The bytes of the tensor that hold the part; of a transposed source the whole matrix.
  std::uint64_t begin() const {
    const std::int64_t row = source.from + (source.is_transposed() ? 0 : rows.first);
    return static_cast<std::uint64_t>(row) * stored_row_bytes();
  }
  std::size_t bytes() const {
    const std::int64_t count = source.is_transposed() ? placement.columns : rows.rows;
    return static_cast<std::size_t>(count) * stored_row_bytes();
  }
  std::size_t stored_row_bytes() const {
    return static_cast<std::size_t>(stored_columns()) * hearth::item_bytes(source.entry->dtype);
  }
  std::int64_t target_row() const { return source.first + rows.first * source.step; }
  HearthType target_type() const {
    return placement.format == HEARTH_FORMAT_F32 ? HEARTH_F32 : HEARTH_BF16;
  }
  std::size_t target_row_bytes() const {
    return static_cast<std::size_t>(placement.columns) * kernels::item_bytes(target_type());
  }
  // Whether the file's bytes are what the arena wants.
  bool is_verbatim() const {
    if (placement.is_packed() || placement.added != 0.0F || source.is_transposed() ||
        source.scale != nullptr)
      return false;
    const bool equal_types =
        source.entry->dtype == (target_type() == HEARTH_F32 ? DType::kF32 : DType::kBF16);
    return equal_types && (source.step == 1 || row_bytes() >= kLeastScatteredBytes);
  }
};

class Loading {
 public:
  Loading(const files::WeightIndex& index, const Plan& plan, const models::LoadOptions& options,
          Arena& arena)
      : index_(index),
        plan_(plan),
        options_(options),
        arena_(arena),
        pieces_(cut(plan, kPieceBytes)),
        ahead_(find_ahead()),
        begun_(plan.placements.size()),
        done_(pieces_.size()) {}

  Result<void> run() {
    CHECK_OK(read_scales());
    const auto& told = options_.on_progress;
    const auto hire = [this] {
      return [this, staging = std::make_shared<Staging>()](std::size_t number) {
        return load(number, *staging);
      };
    };
    const auto tell = [&] { told(read_bytes_.load(), plan_.source_bytes); };
    CHECK_OK(share_out(pieces_.size(), threads(), hire, told ? tell : std::function<void()>()));
    if (told) told(plan_.source_bytes, plan_.source_bytes);
    return {};
  }

 private:
  Result<void> read_scales() {
    for (const Placement& placement : plan_.placements)
      for (const Source& source : placement.sources) {
        if (source.scale == nullptr || codes_.contains(source.entry)) continue;
        TRY(StoredCodes codes, StoredCodes::read(index_, *source.entry, *source.scale));
        codes_.emplace(source.entry, std::move(codes));
      }
    return {};
  }

  std::size_t threads() const {
    const std::size_t wanted =
        options_.device.threads > 0 ? options_.device.threads : std::thread::hardware_concurrency();
    const bool rounds = plan_.precision.linear != format_of(plan_.precision.type);
    return std::clamp<std::size_t>(rounds ? wanted : std::min(wanted, kMostReaders), 1,
                                   pieces_.size());
  }

  // For each piece, up to which piece the system is to fetch once it is begun.
  std::vector<std::size_t> find_ahead() const {
    std::vector<std::size_t> ahead(pieces_.size());
    std::size_t end = 0;
    std::uint64_t bytes = 0;  // of pieces from this one to `end`
    for (std::size_t i = 0; i < pieces_.size(); ++i) {
      for (; end < pieces_.size() && bytes < kAheadBytes; ++end) bytes += bytes_of(pieces_[end]);
      ahead[i] = end;
      bytes -= bytes_of(pieces_[i]);
    }
    return ahead;
  }

  std::uint64_t bytes_of(const Piece& piece) const {
    return source_bytes(plan_.placements[piece.place], piece);
  }

  Result<void> load(std::size_t number, Staging& staging) {
    if (options_.cancelled != nullptr && options_.cancelled->load())
      return fail(Code::kCancelled, "loading was cancelled");
    for (std::size_t i = number == 0 ? 0 : ahead_[number - 1]; i < ahead_[number]; ++i)
      prefetch(pieces_[i]);
    const Piece& piece = pieces_[number];
    const Placement& placement = plan_.placements[piece.place];
    CHECK_OK(begin(piece.place));
    for (const Source& source : placement.sources) {
      const Part part{placement, source, rows_of(source, piece)};
      if (part.rows.rows > 0) CHECK_OK(fill(part, staging));
    }
    read_bytes_.fetch_add(bytes_of(piece));
    return finish(number);
  }

  void prefetch(const Piece& piece) const {
    const Placement& placement = plan_.placements[piece.place];
    for (const Source& source : placement.sources) {
      const Part part{placement, source, rows_of(source, piece)};
      index_.prefetch(*source.entry, part.begin(), part.bytes());
    }
  }

  // Padding, before the first row is rounded.
  Result<void> begin(Place place) {
    const Placement& placement = plan_.placements[place];
    if (!placement.is_packed()) return {};
    Begun& begun = begun_[place];
    std::call_once(begun.once, [&] {
      const HearthMatrix matrix = matrix_in(placement, arena_.host());
      begun.status = hearth_pack_begin(&matrix);
    });
    return decoder::check_status(begun.status, "pack_begin");
  }

  Result<void> fill(const Part& part, Staging& staging) {
    const auto rows = static_cast<std::size_t>(part.rows.rows);
    if (part.is_verbatim())
      return index_.read_rows(*part.source.entry, part.begin(),
                              {target_of(part), rows, part.row_bytes(),
                               part.row_bytes() * static_cast<std::size_t>(part.source.step)});
    TRY(const std::byte* stored, read(part, staging));
    if (part.placement.keeps_codes) return keep(part, stored);
    if (part.placement.is_packed()) return pack(part, stored, staging.widened);
    if (part.source.step == 1) {
      convert(part.read_type(), stored, part.target_type(), target_of(part), part.elements());
      add(part);
      return {};
    }
    const auto stride = part.target_row_bytes() * static_cast<std::size_t>(part.source.step);
    for (std::size_t row = 0; row < rows; ++row)
      convert(part.read_type(), stored + row * part.row_bytes(), part.target_type(),
              target_of(part) + row * stride, static_cast<std::size_t>(part.placement.columns));
    return {};
  }

  // To numbers that are there, of a part without gaps.
  void add(const Part& part) const {
    if (part.placement.added == 0.0F) return;
    auto* numbers = reinterpret_cast<float*>(target_of(part));
    for (std::size_t i = 0; i < part.elements(); ++i) numbers[i] += part.placement.added;
  }

  // The part's rows in read_type(), one after another.
  Result<const std::byte*> read(const Part& part, Staging& staging) const {
    const std::size_t bytes = part.bytes();
    TRY(std::byte * stored, staging.stored.of(bytes));
    const files::WeightEntry* entry = part.source.entry;
    const bool is_held =
        staging.entry == entry && staging.begin == part.begin() && staging.bytes == bytes;
    staging.entry = nullptr;  // until it is there
    if (!is_held) CHECK_OK(index_.read_rows(*entry, part.begin(), {stored, 1, bytes, bytes}));
    staging.entry = entry;
    staging.begin = part.begin();
    staging.bytes = bytes;
    if (part.is_widened()) {
      TRY(stored, widen(part, stored, staging.values));
    }
    if (!part.source.is_transposed()) return static_cast<const std::byte*>(stored);
    return turn(part, stored, staging.turned);
  }

  // All that was read of a part, as f32.
  Result<std::byte*> widen(const Part& part, const std::byte* stored, Scratch& values) const {
    TRY(std::byte * widened, values.of(part.bytes() * sizeof(float)));
    const std::int64_t columns = part.stored_columns();
    const CodeRows rows{stored, static_cast<std::int64_t>(part.begin()) / columns,
                        static_cast<std::int64_t>(part.bytes()) / columns, columns};
    codes_.at(part.source.entry).widen(rows, reinterpret_cast<float*>(widened));
    return widened;
  }

  Result<const std::byte*> turn(const Part& part, const std::byte* stored, Scratch& turned) const {
    TRY(std::byte * rows, turned.of(static_cast<std::size_t>(part.rows.rows) * part.row_bytes()));
    const std::size_t item = hearth::item_bytes(part.read_type());
    const auto column = static_cast<std::size_t>(part.source.column + part.rows.first);
    transpose(item, stored + column * item, static_cast<std::size_t>(part.stored_columns()) * item,
              {rows, static_cast<std::size_t>(part.rows.rows),
               static_cast<std::size_t>(part.placement.columns)});
    return static_cast<const std::byte*>(rows);
  }

  Result<void> keep(const Part& part, const std::byte* codes) const {
    const std::int64_t first = part.source.is_transposed() ? 0 : part.source.from + part.rows.first;
    const bool finite =
        codes_.at(part.source.entry)
            .keep({codes, first, part.rows.rows, part.placement.columns},
                  {matrix_in(part.placement, arena_.host()), part.target_row(), part.source.step});
    if (!finite) return not_finite(*part.source.entry);
    return {};
  }

  // Of the part's first row. Not for packed placements.
  std::byte* target_of(const Part& part) const {
    return arena_.host() + part.placement.offset +
           static_cast<std::size_t>(part.target_row()) * part.target_row_bytes();
  }

  Result<void> pack(const Part& part, const std::byte* stored, Scratch& widened) const {
    const std::byte* source = stored;
    const bool is_f16 = part.read_type() == DType::kF16;
    if (is_f16) {
      TRY(std::byte * wide, widened.of(part.elements() * sizeof(float)));
      convert(DType::kF16, stored, HEARTH_F32, wide, part.elements());
      source = wide;
    }
    const HearthPack call = {.matrix = matrix_in(part.placement, arena_.host()),
                             .type = part.read_type() == DType::kBF16 ? HEARTH_BF16 : HEARTH_F32,
                             .source = source,
                             .rows = part.rows.rows,
                             .first = part.target_row(),
                             .step = part.source.step};
    const HearthStatus status = hearth_pack(&call);
    if (status == HEARTH_BAD_ARGUMENT) return not_finite(*part.source.entry);
    return decoder::check_status(status, "pack");
  }

  // The one argument that a plan cannot check.
  Error not_finite(const files::WeightEntry& entry) const {
    return fail(
        Code::kBadModel,
        fmt::format("{} in {} has weights that are not finite: they cannot be rounded to {}",
                    entry.stored_name, index_.label_of(entry), plan_.precision.name),
        "Load it as bfloat16 or float32.");
  }

  // Tells the arena how far everything has arrived.
  Result<void> finish(std::size_t number) {
    const std::lock_guard lock(mutex_);
    done_[number] = true;
    std::uint64_t end = arrived_;
    for (; arrived_pieces_ < pieces_.size() && done_[arrived_pieces_]; ++arrived_pieces_)
      if (pieces_[arrived_pieces_].last) end = end_of(pieces_[arrived_pieces_].place);
    if (end == arrived_) return {};
    arrived_ = end;
    return arena_.arrived(end);
  }

  std::uint64_t end_of(Place place) const {
    return place + 1 < plan_.placements.size() ? plan_.placements[place + 1].offset : plan_.bytes;
  }

  struct Begun {
    std::once_flag once;
    HearthStatus status = HEARTH_OK;
  };

  const files::WeightIndex& index_;
  const Plan& plan_;
  const models::LoadOptions& options_;
  Arena& arena_;
  const std::vector<Piece> pieces_;
  const std::vector<std::size_t> ahead_;  // by piece
  std::vector<Begun> begun_;              // by placement
  std::map<const files::WeightEntry*, StoredCodes> codes_;

  std::atomic<std::uint64_t> read_bytes_{0};

  std::mutex mutex_;  // guards what follows
  std::vector<bool> done_;
  std::size_t arrived_pieces_ = 0;
  std::uint64_t arrived_ = 0;  // bytes of the arena
};

}  // namespace

Result<void> read_placements(const files::WeightIndex& index, const Plan& plan,
                             const models::LoadOptions& options, Arena& arena) {
  return Loading(index, plan, options, arena).run();
}

}  // namespace hearth::weights
