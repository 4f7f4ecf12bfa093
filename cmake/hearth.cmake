# What every target of ours has in common.

set(CMAKE_CXX_STANDARD 20)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS OFF)
set(CMAKE_CXX_VISIBILITY_PRESET hidden)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)

find_program(CCACHE ccache)
if(CCACHE)
  set(CMAKE_C_COMPILER_LAUNCHER ${CCACHE})
  set(CMAKE_CXX_COMPILER_LAUNCHER ${CCACHE})
endif()

add_library(hearth_common INTERFACE)
target_include_directories(hearth_common INTERFACE ${PROJECT_SOURCE_DIR})
target_compile_options(
  hearth_common INTERFACE $<$<COMPILE_LANGUAGE:CXX>:-Wall -Wextra -Wpedantic -Wnon-virtual-dtor>
                          $<$<AND:$<COMPILE_LANGUAGE:CXX>,$<BOOL:${HEARTH_WERROR}>>:-Werror>)
# __FILE__, also of libtorch's headers, says nothing of where a program was built.
target_compile_options(
  hearth_common
  INTERFACE $<$<COMPILE_LANGUAGE:CXX>:-fmacro-prefix-map=${PROJECT_SOURCE_DIR}/=>)
if(HEARTH_SANITIZE)
  # UBSan's findings end the program, too; by themselves they are only printed.
  target_compile_options(hearth_common INTERFACE -fsanitize=${HEARTH_SANITIZE}
                                                 -fno-sanitize-recover=all -fno-omit-frame-pointer)
  target_link_options(hearth_common INTERFACE -fsanitize=${HEARTH_SANITIZE})
endif()

# hearth_library(name SOURCES a.cpp b.cpp LINKS other_library ...)
# A folder is a library: its public headers are included as "folder/header.h" from the top.
function(hearth_library name)
  cmake_parse_arguments(LIBRARY "" "" "SOURCES;LINKS" ${ARGN})
  add_library(${name} STATIC ${LIBRARY_SOURCES})
  target_link_libraries(${name} PUBLIC hearth_common ${LIBRARY_LINKS})
endfunction()

# hearth_executable(name SOURCES main.cpp LINKS library ...): a program, in <build>/bin.
function(hearth_executable name)
  cmake_parse_arguments(EXECUTABLE "" "" "SOURCES;LINKS" ${ARGN})
  add_executable(${name} ${EXECUTABLE_SOURCES})
  target_link_libraries(${name} PRIVATE hearth_common ${EXECUTABLE_LINKS})
endfunction()
