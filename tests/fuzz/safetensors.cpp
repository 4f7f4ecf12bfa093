// The header of a safetensors file. Input: a byte; even: the whole file follows; odd: how many KiB
// of tensors the file has (u16), then the header's JSON, whose length is put before it.
#include "models/files/safetensors.h"

#include "models/files/weight_index.h"
#include "tests/fuzz/fuzz.h"

namespace hearth::fuzz {
namespace {

// What everybody who reads weights relies on.
void expect_sound(const files::SafetensorsHeader& header, std::uint64_t file_bytes) {
  std::uint64_t end = 0;
  for (const files::StoredTensor& tensor : header.tensors) {
    expect(tensor.offset <= file_bytes && tensor.nbytes <= file_bytes - tensor.offset,
           "a tensor lies inside its file");
    expect(end == 0 || tensor.offset == end, "tensors follow each other");
    end = tensor.offset + tensor.nbytes;
    Wide bytes = item_bytes(tensor.dtype);
    for (const std::int64_t dim : tensor.shape)
      bytes = std::min(bytes * static_cast<std::uint64_t>(dim), Wide{1} << 64);
    expect(bytes == tensor.nbytes, "a tensor has the bytes of its shape");
    expect(tensor.shape.size() <= kMaxRank, "a tensor has at most kMaxRank dimensions");
  }
  expect(header.tensors.empty() || end == file_bytes, "the last tensor ends with the file");
}

void read(const models::ModelFile& file, std::uint64_t file_bytes) {
  const auto header = files::read_safetensors_header(file);
  if (header) expect_sound(*header, file_bytes);
  const auto index = files::WeightIndex::read({file});
  expect(header || !index, "what has no header has no weights");
  if (!index) return;
  for (const files::WeightEntry& entry : index->entries())
    expect(index->find(entry.name) != nullptr, "what is listed is found");
}

}  // namespace
}  // namespace hearth::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace hearth;
  static fuzz::MemoryFile file("model.safetensors");
  fuzz::Input input(data, size);
  std::string content;
  std::size_t hole_bytes = 0;
  if (input.byte() % 2 == 0) {
    content = input.rest();
  } else {
    hole_bytes = std::size_t{input.number<std::uint16_t>()} * 1024;
    const std::string_view json = input.rest();
    const std::uint64_t length = json.size();
    content.assign(reinterpret_cast<const char*>(&length), sizeof(length));
    content += json;
  }
  fuzz::read(file.with(content, hole_bytes), content.size() + hole_bytes);
  return 0;
}
