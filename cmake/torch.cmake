# libtorch as the target hearth::torch, taken from a torch wheel or any libtorch folder.
#
# Not find_package(Torch): its configuration wants a whole CUDA toolkit even where nothing is
# compiled for a GPU. The worker links libtorch_cpu and c10 only and opens libtorch_cuda itself
# where there is a GPU.

if(NOT HEARTH_TORCH_DIR)
  set(python ${HEARTH_PYTHON})
  if(NOT python AND EXISTS ${PROJECT_SOURCE_DIR}/build/venv/bin/python)
    set(python ${PROJECT_SOURCE_DIR}/build/venv/bin/python)
  endif()
  if(NOT python)
    find_package(Python3 REQUIRED COMPONENTS Interpreter)
    set(python ${Python3_EXECUTABLE})
  endif()
  execute_process(
    COMMAND ${python} -c "import importlib.util as u; s = u.find_spec('torch'); print(s.submodule_search_locations[0] if s else '')"
    OUTPUT_VARIABLE torch_folder OUTPUT_STRIP_TRAILING_WHITESPACE)
  set(HEARTH_TORCH_DIR ${torch_folder} CACHE PATH "" FORCE)
endif()
if(NOT EXISTS ${HEARTH_TORCH_DIR}/lib/libtorch_cpu.so)
  message(FATAL_ERROR
    "No libtorch found. ./quickstart installs one into build/venv; or pass -DHEARTH_TORCH_DIR=<folder "
    "with include/ and lib/> (libtorch >= 2.9), or -DHEARTH_TORCH=OFF for a build without it.")
endif()

# The one this build is for: what is loaded must be the same release.
set(HEARTH_TORCH_VERSION "")
foreach(part MAJOR MINOR PATCH)
  foreach(header headeronly/version.h csrc/api/include/torch/version.h)
    if(EXISTS ${HEARTH_TORCH_DIR}/include/torch/${header})
      file(STRINGS ${HEARTH_TORCH_DIR}/include/torch/${header} line
           REGEX "#define TORCH_VERSION_${part} [0-9]+" LIMIT_COUNT 1)
      if(line)
        string(REGEX REPLACE ".* ([0-9]+)" "\\1" HEARTH_TORCH_${part} "${line}")
        break()
      endif()
    endif()
  endforeach()
endforeach()
set(HEARTH_TORCH_VERSION ${HEARTH_TORCH_MAJOR}.${HEARTH_TORCH_MINOR}.${HEARTH_TORCH_PATCH})
set(HEARTH_TORCH_RPATH "$ORIGIN/../lib/hearth/torch/${HEARTH_TORCH_VERSION}/torch/lib")
message(STATUS "libtorch ${HEARTH_TORCH_VERSION}: ${HEARTH_TORCH_DIR}")

# Per-operator headers and the ban on ATen's whole-library header: 3 s instead of 16 s a file.
add_library(hearth_libtorch INTERFACE)
# After the system's folders: torch carries an fmt of its own, which must not shadow ours.
target_compile_options(hearth_libtorch INTERFACE "SHELL:-idirafter ${HEARTH_TORCH_DIR}/include")
target_compile_definitions(hearth_libtorch INTERFACE AT_PER_OPERATOR_HEADERS
                                                     TORCH_ASSERT_ONLY_METHOD_OPERATORS)
target_link_libraries(hearth_libtorch INTERFACE ${HEARTH_TORCH_DIR}/lib/libtorch_cpu.so
                                                ${HEARTH_TORCH_DIR}/lib/libc10.so)
target_link_options(hearth_libtorch INTERFACE -Wl,--allow-shlib-undefined)
add_library(hearth::torch ALIAS hearth_libtorch)
