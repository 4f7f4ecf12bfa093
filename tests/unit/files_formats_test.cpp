#include <gtest/gtest.h>

#include "models/files/formats.h"
#include "models/files/stored_scales.h"
#include "tests/unit/model_files_for_test.h"
#include "tests/unit/safetensors_for_test.h"

namespace hearth::files {
namespace {

using models::file_with;
using models::ModelFiles;

struct Foreign {
  std::string_view label;
  std::string_view begin;
  std::string_view says;
};

void PrintTo(const Foreign& foreign, std::ostream* out) {
  *out << foreign.label;
}

class ForeignFile : public testing::TestWithParam<Foreign> {};

TEST_P(ForeignFile, IsRefusedByName) {
  const auto& [label, begin, says] = GetParam();
  const auto content = std::string(begin) + std::string(100, '\x07');
  const auto index = WeightIndex::read({file_with(std::string(label), content)});
  ASSERT_FALSE(index);
  EXPECT_EQ(index.error().code, Code::kUnsupported);
  EXPECT_NE(index.error().what.find(says), std::string::npos) << index.error().what;
  EXPECT_NE(index.error().hint.find("safetensors"), std::string::npos);
}

INSTANTIATE_TEST_SUITE_P(
    Formats, ForeignFile,
    testing::Values(Foreign{"model.gguf", "GGUF", "GGUF"},
                    Foreign{"renamed.safetensors", "GGUF", "GGUF"},
                    Foreign{"pytorch_model.bin", "PK\x03\x04", "zip archive"},
                    Foreign{"renamed.safetensors", "PK\x03\x04", "zip archive"},
                    Foreign{"model.ckpt", "\x80\x02}q", "pickle"},
                    Foreign{"renamed.safetensors", "\x80\x04\x95\x10", "pickle"},
                    Foreign{"model.pt", "anything", "pickle"},
                    Foreign{"model.onnx", "\x08\x07", "ONNX"},
                    Foreign{"model.h5", "\x89HDF", "HDF5"}));

TEST(Formats, SaysWhatAFolderWithoutSafetensorsHolds) {
  const auto index = WeightIndex::read(
      {file_with("config.json", "{}"), file_with("pytorch_model.bin", "PK\x03\x04....")});
  ASSERT_FALSE(index);
  EXPECT_EQ(index.error().code, Code::kUnsupported);
  EXPECT_NE(index.error().what.find("pytorch_model.bin"), std::string::npos);
}

TEST(Formats, TakesNoHeaderLengthForAPickle) {
  auto header = std::string(R"({"w":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}})");
  header.resize(0x280, ' ');  // the file begins with 80 02
  const auto index = WeightIndex::read({file_with("model.safetensors", safetensors(header, 1))});
  EXPECT_TRUE(index) << index.error().what;
}

struct Quantised {
  std::string_view config;
  std::string_view tensor;
  std::string_view dtype;
  std::string_view says;
};

void PrintTo(const Quantised& quantised, std::ostream* out) {
  *out << quantised.tensor;
}

class QuantisedModel : public testing::TestWithParam<Quantised> {};

Result<void> outcome_for(const Quantised& model) {
  const auto header = R"({")" + std::string(model.tensor) + R"(":{"dtype":")" +
                      std::string(model.dtype) + R"(","shape":[1],"data_offsets":[0,)" +
                      (model.dtype == "I32" || model.dtype == "F32" ? "4" : "1") + "]}}";
  const std::size_t bytes = model.dtype == "I32" || model.dtype == "F32" ? 4 : 1;
  const ModelFiles files = {file_with("model.safetensors", safetensors(header, bytes)),
                            file_with("config.json", model.config)};
  TRY(const auto index, WeightIndex::read(files));
  const auto scales = read_stored_scales(files, index);
  if (!scales) return scales.error();
  return {};
}

TEST_P(QuantisedModel, IsRefusedByName) {
  const auto outcome = outcome_for(GetParam());
  ASSERT_FALSE(outcome);
  EXPECT_EQ(outcome.error().code, Code::kUnsupported);
  EXPECT_NE(outcome.error().what.find(GetParam().says), std::string::npos) << outcome.error().what;
}

INSTANTIATE_TEST_SUITE_P(
    Formats, QuantisedModel,
    testing::Values(
        Quantised{R"({"quantization_config":{"quant_method":"awq"}})", "a", "U8", "awq"},
        Quantised{R"({"quantization_config":{"quant_method":"gptq"}})", "a", "U8", "gptq"},
        Quantised{R"({"quantization_config":{"quant_method":"bitsandbytes"}})", "a", "U8",
                  "bitsandbytes"},
        Quantised{R"({"quantization_config":{}})", "a", "U8", "unnamed"},
        Quantised{R"({"quantization_config":{"quant_method":"fp8","fmt":"e5m2"}})", "a", "U8",
                  "e5m2"},
        Quantised{R"({"text_config":{"quantization_config":{"quant_method":"modelopt"}}})", "a",
                  "U8", "modelopt"},
        Quantised{"{}", "model.layers.0.mlp.up_proj.weight_packed", "I32", "compressed-tensors"},
        Quantised{"{}", "model.layers.0.mlp.up_proj.qweight", "I32", "AWQ or GPTQ"},
        Quantised{"{}", "model.layers.0.mlp.up_proj.g_idx", "I32", "GPTQ"},
        Quantised{"{}", "model.layers.0.mlp.up_proj.weight.absmax", "U8", "bitsandbytes"},
        Quantised{"{}", "model.layers.0.mlp.up_proj.weight_scale", "F32", "scaled FP8 or INT8"},
        Quantised{"{}", "model.layers.0.mlp.up_proj.scale_weight", "F32", "scaled_fp8"},
        Quantised{"{}", "model.layers.0.mlp.up_proj.weight_scale_inv", "F32", "FP8 in blocks"}));

TEST(Formats, LetsPlainWeightsPass) {
  EXPECT_TRUE(outcome_for({R"({"quantization_config":null})", "model.norm.weight", "F32", ""}));
}

}  // namespace
}  // namespace hearth::files
