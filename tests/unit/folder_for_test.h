// Folders of model files, and the fixtures that transformers made (tests/fixtures/).
#pragma once

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <memory>
#include <string>
#include <string_view>

#include <fcntl.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "models/model.h"

namespace hearth::models {

// Every file of a folder, opened. Empty when there is no such folder.
inline ModelFiles open_folder(const std::filesystem::path& folder) {
  ModelFiles files;
  std::error_code absent;
  for (const auto& entry : std::filesystem::directory_iterator(folder, absent))
    if (entry.is_regular_file())
      files.push_back({entry.path().filename().string(),
                       std::make_shared<const Fd>(::open(entry.path().c_str(), O_RDONLY))});
  return files;
}

// What is too large to be committed: HEARTH_TEST_DATA, else shared/data beside the checkout.
inline std::filesystem::path test_data() {
  const char* named = std::getenv("HEARTH_TEST_DATA");
  return named ? std::filesystem::path(named)
               : std::filesystem::path(HEARTH_SOURCE_DIR) / ".." / "shared" / "data";
}

// A file of tests/data, such as "text/strings.json".
inline nlohmann::json read_fixture(std::string_view name) {
  std::ifstream file(std::filesystem::path(HEARTH_SOURCE_DIR) / "tests" / "data" / name);
  EXPECT_TRUE(file) << name;
  return nlohmann::json::parse(file);
}

}  // namespace hearth::models
