# The command, the shared library with its public headers and CMake package, the default model.
include(GNUInstallDirs)
include(CMakePackageConfigHelpers)

add_library(blip SHARED blip/version.cpp)
blip_link_rooms(blip tasks)
set_target_properties(blip PROPERTIES VERSION ${PROJECT_VERSION} SOVERSION ${PROJECT_VERSION_MAJOR})
target_compile_definitions(blip PRIVATE BLIP_VERSION="${PROJECT_VERSION}")
target_compile_features(blip PUBLIC cxx_std_20)
target_include_directories(blip INTERFACE
  $<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}> $<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}>)
target_sources(blip INTERFACE FILE_SET HEADERS BASE_DIRS ${PROJECT_SOURCE_DIR} FILES
  blip/base/context.h blip/base/error.h blip/base/export.h blip/base/precision.h
  blip/blip.h
  blip/generation/generation_config.h
  blip/image/decode.h blip/image/encode.h blip/image/image.h
  blip/tasks/captioning.h blip/tasks/description.h blip/tasks/description_options.h blip/tasks/engine.h
  blip/tasks/features.h blip/tasks/first_token.h
  blip/tasks/localization.h blip/tasks/matching.h blip/tasks/nlvr.h blip/tasks/vqa.h)
add_library(blip::blip ALIAS blip)

install(TARGETS blip EXPORT blip FILE_SET HEADERS)
if(BLIP_APPS)
  install(TARGETS blip_cli RUNTIME)
endif()
if(BLIP_TRAIN)
  install(TARGETS blip_train_program RUNTIME)
  install(DIRECTORY train/configs/ DESTINATION ${CMAKE_INSTALL_DATADIR}/blip/train)
endif()
install(DIRECTORY models/default/ DESTINATION ${CMAKE_INSTALL_DATADIR}/blip/model)
install(DIRECTORY models/vqa/ DESTINATION ${CMAKE_INSTALL_DATADIR}/blip/model-vqa)
install(DIRECTORY models/nlvr/ DESTINATION ${CMAKE_INSTALL_DATADIR}/blip/model-nlvr)
install(FILES LICENSE NOTICE DESTINATION ${CMAKE_INSTALL_DOCDIR})
install(EXPORT blip NAMESPACE blip:: FILE blip-targets.cmake DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/blip)
configure_package_config_file(cmake/blip-config.cmake.in ${PROJECT_BINARY_DIR}/blip-config.cmake
  INSTALL_DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/blip)
write_basic_package_version_file(${PROJECT_BINARY_DIR}/blip-config-version.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${PROJECT_BINARY_DIR}/blip-config.cmake ${PROJECT_BINARY_DIR}/blip-config-version.cmake
  DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/blip)
