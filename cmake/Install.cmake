# A relocatable tree: the library, its headers, the CMake package and the licence (and examples/ adds the program
# `codegen`). Paths in it are relative to each other, so the whole tree can be moved (tests/install does).
include(CMakePackageConfigHelpers)

set(package_dir ${CMAKE_INSTALL_LIBDIR}/cmake/codegen)
get_target_property(library_type codegen TYPE)
set(CODEGEN_IS_SHARED OFF)
if(library_type STREQUAL "SHARED_LIBRARY")
  set(CODEGEN_IS_SHARED ON)
endif()

install(TARGETS codegen EXPORT codegenTargets
        LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR} ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR}
        RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR}
        FILE_SET HEADERS DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})
install(EXPORT codegenTargets NAMESPACE codegen:: DESTINATION ${package_dir})

configure_package_config_file(cmake/codegenConfig.cmake.in ${PROJECT_BINARY_DIR}/codegenConfig.cmake
                              INSTALL_DESTINATION ${package_dir})
write_basic_package_version_file(${PROJECT_BINARY_DIR}/codegenConfigVersion.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${PROJECT_BINARY_DIR}/codegenConfig.cmake ${PROJECT_BINARY_DIR}/codegenConfigVersion.cmake
        DESTINATION ${package_dir})
install(FILES LICENSE DESTINATION ${CMAKE_INSTALL_DOCDIR})
