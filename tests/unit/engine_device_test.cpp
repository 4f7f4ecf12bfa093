// Devices and exceptions of the build with libtorch.
#include <new>
#include <vector>

#include <ATen/core/Tensor.h>
#include <c10/util/Exception.h>
#include <gtest/gtest.h>

#include "models/generate/fault.h"
#include "models/model.h"
#include "models/torch/driver.h"
#include "models/torch/tensors.h"
#include "models/torch/version.h"

namespace hearth::models {
namespace {

Fault fault_of(const std::string& message) {
  return describe(std::make_exception_ptr(c10::Error({"f", "f.cpp", 1}, message)));
}

TEST(Device, TheCpuIsAlwaysThere) {
  const auto engine = open_engine("cpu", 1);
  ASSERT_TRUE(engine);
  EXPECT_EQ(engine->device.kind, DeviceKind::kCpu);
  EXPECT_EQ(engine->device.threads, 1U);
  EXPECT_FALSE(engine->device.name.empty());
  EXPECT_GT(engine->device.memory_bytes, 0U);
}

// A virtual machine may announce AMX and hide its tiles; a process must survive its first product.
TEST(Device, TheCpuMultipliesBfloat16) {
  ASSERT_TRUE(open_engine("cpu", 1));
  const auto filled = [](float value) {
    const std::vector<float> values(std::size_t{256} * 256, value);
    return engine::from_floats(values, {256, 256}).to(at::kBFloat16);
  };
  const at::Tensor product = filled(0.5F).mm(filled(2.0F));
  EXPECT_EQ(product.sum(at::kDouble).item<double>(), 256.0 * 256.0 * 256.0);
}

TEST(Device, WithoutADriverAGpuIsRefusedAndTheCpuSaysWhy) {
  const auto driver = engine::find_driver();
  if (driver && driver->devices > 0) GTEST_SKIP() << "this machine has " << driver->device_name;
  const auto cuda = open_engine("cuda", 1);
  ASSERT_FALSE(cuda);
  EXPECT_EQ(cuda.error().code, Code::kUnsupported);
  const auto automatic = open_engine("auto", 1);
  ASSERT_TRUE(automatic);
  EXPECT_EQ(automatic->device.kind, DeviceKind::kCpu);
  ASSERT_FALSE(automatic->remarks.empty());
  EXPECT_NE(automatic->remarks.back().find("no"), std::string::npos);
}

TEST(Version, TheLoadedLibtorchIsTheOneThisBuildIsFor) {
  EXPECT_TRUE(engine::check_version(engine::loaded_version()));
}

TEST(Version, AnotherLibtorchIsRefusedWithBothVersionsAndTheRemedy) {
  const std::uint64_t another = engine::loaded_version() + (std::uint64_t{1} << 48);
  const auto checked = engine::check_version(another);
  ASSERT_FALSE(checked);
  EXPECT_EQ(checked.error().code, Code::kUnsupported);
  for (const std::uint64_t version : {engine::loaded_version(), another})
    EXPECT_NE(checked.error().what.find(engine::version_text(version)), std::string::npos);
  EXPECT_NE(checked.error().hint.find("hearth setup"), std::string::npos);
}

TEST(Version, ALibtorchThatCannotSayItsVersionIsRefused) {
  const auto checked = engine::check_version(0);
  ASSERT_FALSE(checked);
  EXPECT_NE(checked.error().what.find("unknown version"), std::string::npos);
}

Fault fault_numbered(int number) {
  const c10::AcceleratorError error({"f", "f.cpp", 1}, number, "CUDA error");
  return describe(std::make_exception_ptr(error));
}

TEST(Exceptions, LackOfMemoryIsSaidAsSuch) {
  const Fault full =
      describe(std::make_exception_ptr(c10::OutOfMemoryError({"f", "f.cpp", 1}, "2 GiB")));
  EXPECT_EQ(full.error.code, Code::kOutOfMemory);
  EXPECT_FALSE(full.device_lost);
  EXPECT_EQ(fault_numbered(2).error.code, Code::kOutOfMemory);
  EXPECT_EQ(fault_of("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes")
                .error.code,
            Code::kOutOfMemory);
}

TEST(Exceptions, CudaErrorsAreToldByTheirNumber) {
  for (const int sticky : {214, 700, 702, 710, 714, 715, 716, 717, 718, 719, 999}) {
    EXPECT_TRUE(fault_numbered(sticky).device_lost) << sticky;
    EXPECT_EQ(fault_numbered(sticky).error.code, Code::kWorkerLost) << sticky;
  }
  EXPECT_TRUE(fault_numbered(100).device_lost);
  EXPECT_EQ(fault_numbered(100).error.code, Code::kDeviceFailed);
  EXPECT_FALSE(fault_numbered(1).device_lost);
  EXPECT_EQ(fault_numbered(1).error.code, Code::kInternal);
}

TEST(Exceptions, WordsOfAnErrorMeanNothing) {
  EXPECT_FALSE(fault_of("CUDA error: an illegal memory access was encountered").device_lost);
  EXPECT_EQ(fault_of("a picture of a cow out of memory").error.code, Code::kInternal);
}

TEST(Exceptions, OthersKeepTheirWords) {
  const Fault fault = fault_of("mat1 and mat2 shapes cannot be multiplied");
  EXPECT_EQ(fault.error.code, Code::kInternal);
  EXPECT_NE(fault.error.what.find("mat1"), std::string::npos);
  EXPECT_TRUE(describe(std::make_exception_ptr(generate::DeviceLost("gone"))).device_lost);
  EXPECT_EQ(describe(std::make_exception_ptr(std::bad_alloc())).error.code, Code::kOutOfMemory);
}

}  // namespace
}  // namespace hearth::models
