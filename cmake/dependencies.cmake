# Libraries from the distribution, under one spelling each.

find_package(PkgConfig REQUIRED)
find_package(Threads REQUIRED)
find_package(Boost 1.74 REQUIRED)
find_package(fmt REQUIRED)
find_package(spdlog REQUIRED)
find_package(nlohmann_json REQUIRED)
find_package(CLI11 REQUIRED)
pkg_check_modules(pcre2 REQUIRED IMPORTED_TARGET libpcre2-8)
pkg_check_modules(utf8proc REQUIRED IMPORTED_TARGET libutf8proc)
pkg_check_modules(systemd REQUIRED IMPORTED_TARGET libsystemd)
find_path(MSGPACK_INCLUDE_DIR msgpack.hpp REQUIRED)
find_path(TOMLPLUSPLUS_INCLUDE_DIR toml++/toml.h REQUIRED)

add_library(hearth::pcre2 ALIAS PkgConfig::pcre2)
add_library(hearth::utf8proc ALIAS PkgConfig::utf8proc)
add_library(hearth::systemd ALIAS PkgConfig::systemd)

add_library(hearth_boost INTERFACE)
target_link_libraries(hearth_boost INTERFACE Boost::headers Threads::Threads)
add_library(hearth::boost ALIAS hearth_boost)

add_library(hearth_msgpack INTERFACE)
target_include_directories(hearth_msgpack SYSTEM INTERFACE ${MSGPACK_INCLUDE_DIR})
target_link_libraries(hearth_msgpack INTERFACE Boost::headers)
add_library(hearth::msgpack ALIAS hearth_msgpack)

# The headers alone: the distribution's library would be one more package to run.
add_library(hearth_tomlplusplus INTERFACE)
target_include_directories(hearth_tomlplusplus SYSTEM INTERFACE ${TOMLPLUSPLUS_INCLUDE_DIR})
add_library(hearth::tomlplusplus ALIAS hearth_tomlplusplus)

if(HEARTH_TESTS)
  find_package(GTest REQUIRED)
endif()
