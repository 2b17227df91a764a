# What every target is compiled with.
set(CMAKE_CXX_STANDARD 20)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS OFF)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)
set(CMAKE_CXX_VISIBILITY_PRESET hidden)
set(CMAKE_VISIBILITY_INLINES_HIDDEN ON)
set(CMAKE_RUNTIME_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR}/bin)
set(CMAKE_LIBRARY_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR}/lib)
set(CMAKE_ARCHIVE_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR}/lib)

if(NOT CMAKE_BUILD_TYPE AND NOT CMAKE_CONFIGURATION_TYPES)
  set(CMAKE_BUILD_TYPE Release CACHE STRING "" FORCE)
endif()

find_program(BLIP_CCACHE ccache)
if(BLIP_CCACHE AND NOT CMAKE_CXX_COMPILER_LAUNCHER)
  set(CMAKE_C_COMPILER_LAUNCHER ${BLIP_CCACHE})
  # What ccache asks for where a target has a precompiled header.
  set(CMAKE_CXX_COMPILER_LAUNCHER ${CMAKE_COMMAND} -E env CCACHE_SLOPPINESS=pch_defines,time_macros ${BLIP_CCACHE})
endif()

add_compile_options(-Wall -Wextra -Wpedantic -Wshadow -Wnon-virtual-dtor -Wno-missing-field-initializers)
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU" AND CMAKE_CXX_COMPILER_VERSION VERSION_LESS 13)
  add_compile_options(-Wno-restrict)  # GCC 12 sees overlaps in std::string that are not there
endif()
if(BLIP_WERROR)
  add_compile_options(-Werror)
endif()
# Results must not depend on which compiler contracted a*b+c: kernels that want FMA ask for it.
add_compile_options(-ffp-contract=off)
if(BLIP_ASSERTIONS)
  add_compile_options(-UNDEBUG -D_GLIBCXX_ASSERTIONS)
endif()
if(BLIP_SANITIZE)
  # -O1: sanitized code is checked, not timed, and takes half as long to compile.
  add_compile_options(-fsanitize=${BLIP_SANITIZE} -fno-omit-frame-pointer -fno-sanitize-recover=all -g1 -O1)
  add_link_options(-fsanitize=${BLIP_SANITIZE})
endif()
if(BLIP_FUZZ)
  add_compile_options(-fsanitize=fuzzer-no-link)
endif()

# For a target whose files take far longer for what they include than for themselves: several are
# compiled at once. One that must stand apart has SKIP_UNITY_BUILD_INCLUSION.
function(blip_compile_together target)
  set_target_properties(${target} PROPERTIES UNITY_BUILD ${BLIP_UNITY} UNITY_BUILD_BATCH_SIZE 8)
endfunction()
