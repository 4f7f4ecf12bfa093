#include "models/files/formats.h"

#include <algorithm>
#include <array>
#include <string>

#include <fmt/format.h>

namespace hearth::files {
namespace {

constexpr std::string_view kWhatIsRead =
    "Use the checkpoint's safetensors files in bfloat16, float16 or float32, or one in FP8 or INT8 "
    "of "
    "a kind that docs/files.md names.";

struct Mark {
  std::string_view mark;
  std::string_view meaning;
};

constexpr std::array kMagics = {
    Mark{"GGUF", "a GGUF file (llama.cpp)"},
    Mark{"PK\x03\x04", "a zip archive, as PyTorch pickles its checkpoints"},
    Mark{"\x89HDF", "an HDF5 file (Keras)"},
    Mark{"ggml", "a GGML file (llama.cpp)"},
};
constexpr std::array kSuffixes = {
    Mark{".gguf", "a GGUF file (llama.cpp)"},
    Mark{".bin", "a PyTorch pickle"},
    Mark{".pt", "a PyTorch pickle"},
    Mark{".pth", "a PyTorch pickle"},
    Mark{".ckpt", "a PyTorch pickle"},
    Mark{".pkl", "a Python pickle"},
    Mark{".onnx", "an ONNX file"},
    Mark{".h5", "an HDF5 file (Keras)"},
};

// What ends a tensor's name only where weights are quantised. bitsandbytes packs 4-bit weights as
// U8 beside `absmax`; AutoGPTQ and AutoAWQ pack them as I32 `qweight` with `qzeros`.
constexpr std::array kTensorMarks = {
    Mark{".weight_packed", "compressed-tensors"},
    Mark{".absmax", "bitsandbytes 4-bit"},
    Mark{".SCB", "bitsandbytes 8-bit"},
    Mark{".qzeros", "AWQ or GPTQ"},
    Mark{".qweight", "AWQ or GPTQ"},
    Mark{".g_idx", "GPTQ"},
};

// Opcode 0x80, then the protocol's number, then another opcode. A safetensors file may begin with
// the same two bytes (a header of 640 bytes), but then zeros follow.
bool is_pickle(std::string_view begin) {
  return begin.size() >= 4 && begin[0] == '\x80' && begin[1] >= 2 && begin[1] <= 5 && begin[3] != 0;
}

}  // namespace

Result<void> refuse_foreign_format(const models::ModelFile& file) {
  const auto foreign = [&](std::string_view meaning) {
    return fail(Code::kUnsupported,
                fmt::format("{} is {}; hearth reads safetensors only.", file.label, meaning),
                std::string(kWhatIsRead));
  };
  TRY(const auto identity, identity_of(file));
  std::string begin(static_cast<std::size_t>(std::min<std::uint64_t>(4, identity.size_bytes)),
                    '\0');
  CHECK_OK(read_at(file, 0, std::as_writable_bytes(std::span(begin))));
  for (const auto& magic : kMagics)
    if (begin.starts_with(magic.mark)) return foreign(magic.meaning);
  if (is_pickle(begin)) return foreign("a Python pickle");
  for (const auto& suffix : kSuffixes)
    if (file.label.ends_with(suffix.mark)) return foreign(suffix.meaning);
  return {};
}

Error refused(std::string_view method, std::string_view evidence) {
  return fail(Code::kUnsupported,
              fmt::format("The weights are quantised with {} ({}); hearth does not read that.",
                          method, evidence),
              std::string(kWhatIsRead));
}

Result<void> refuse_quantised(const WeightIndex& index) {
  for (const auto& mark : kTensorMarks)
    for (const auto& entry : index.entries())
      if (entry.name.ends_with(mark.mark))
        return refused(mark.meaning, "tensor " + shortened(entry.stored_name));
  return {};
}

}  // namespace hearth::files
