# codegen_floor(NAME SOURCES ... LINKS ...)  one folder of src/: a static library of the floors it may use.
# codegen_product()                          codegen::codegen, made of the objects of all floors.
# codegen_test(NAME SOURCES ... LINKS ...)   one GoogleTest program, its cases listed in CTest one by one.
# codegen_benchmark(NAME SOURCES ... LINKS ...) one Google Benchmark program.
set_property(GLOBAL PROPERTY CODEGEN_FLOORS "")
set_property(GLOBAL PROPERTY CODEGEN_EXTERNAL_LINKS "")

function(codegen_floor name)
  cmake_parse_arguments(PARSE_ARGV 1 floor "" "" "SOURCES;LINKS")
  set(target codegen_${name})
  if(floor_SOURCES)
    add_library(${target} STATIC ${floor_SOURCES})
    set(scope PUBLIC)
    target_link_libraries(${target} PRIVATE codegen_warnings)
    target_compile_options(${target} PRIVATE -ffp-contract=off)
    set_target_properties(${target} PROPERTIES POSITION_INDEPENDENT_CODE ON CXX_VISIBILITY_PRESET hidden
                          VISIBILITY_INLINES_HIDDEN ON CXX_EXTENSIONS OFF)
    set_property(GLOBAL APPEND PROPERTY CODEGEN_FLOORS ${target})
  else()
    add_library(${target} INTERFACE)
    set(scope INTERFACE)
  endif()
  target_compile_features(${target} ${scope} cxx_std_20)
  target_include_directories(${target} ${scope} ${PROJECT_SOURCE_DIR}/src ${PROJECT_SOURCE_DIR}/include)
  target_link_libraries(${target} ${scope} ${floor_LINKS})

  # What a floor takes from outside the house, the product has to link.
  list(FILTER floor_LINKS EXCLUDE REGEX "^codegen_")
  set_property(GLOBAL APPEND PROPERTY CODEGEN_EXTERNAL_LINKS ${floor_LINKS})
endfunction()

# The public headers are listed by name; each must compile alone (target all_verify_interface_header_sets).
function(codegen_product)
  cmake_parse_arguments(PARSE_ARGV 0 product "" "" "HEADERS")
  get_property(floors GLOBAL PROPERTY CODEGEN_FLOORS)
  get_property(links GLOBAL PROPERTY CODEGEN_EXTERNAL_LINKS)
  list(REMOVE_DUPLICATES links)
  list(TRANSFORM floors REPLACE "(.+)" "$<TARGET_OBJECTS:\\1>" OUTPUT_VARIABLE objects)

  add_library(codegen ${objects})
  add_library(codegen::codegen ALIAS codegen)
  target_sources(codegen PUBLIC FILE_SET HEADERS BASE_DIRS ${PROJECT_SOURCE_DIR}/include FILES ${product_HEADERS})
  target_compile_features(codegen PUBLIC cxx_std_20)

  # Public headers show absl::Status and absl::StatusOr; everything else is nobody's business but ours.
  set(public_links absl::status absl::statusor)
  list(REMOVE_ITEM links ${public_links})
  target_link_libraries(codegen PUBLIC ${public_links} PRIVATE ${links})
  if(NOT CODEGEN_SANITIZE AND NOT APPLE)
    target_link_options(codegen PRIVATE LINKER:--no-undefined)
  endif()

  set(soversion ${PROJECT_VERSION_MAJOR}.${PROJECT_VERSION_MINOR})  # before 1.0 every minor version may break the ABI
  set_target_properties(codegen PROPERTIES LINKER_LANGUAGE CXX VERSION ${PROJECT_VERSION} SOVERSION ${soversion}
                        VERIFY_INTERFACE_HEADER_SETS ON)
endfunction()

function(codegen_test name)
  cmake_parse_arguments(PARSE_ARGV 1 test "" "TIMEOUT" "SOURCES;LINKS")
  add_executable(${name} ${test_SOURCES})
  target_include_directories(${name} PRIVATE ${PROJECT_SOURCE_DIR}/tests ${PROJECT_SOURCE_DIR}/src)
  target_link_libraries(${name} PRIVATE ${test_LINKS} codegen_warnings GTest::gmock GTest::gtest_main)
  target_compile_definitions(${name} PRIVATE CODEGEN_SOURCE_DIR="${PROJECT_SOURCE_DIR}")
  # Formulas of tests round as those of the floors; on Arm the compiler would fuse them.
  target_compile_options(${name} PRIVATE $<$<COMPILE_LANGUAGE:CXX>:-ffp-contract=off>)
  set_target_properties(${name} PROPERTIES CXX_EXTENSIONS OFF)
  if(NOT test_TIMEOUT)
    set(test_TIMEOUT 300)
  endif()
  gtest_discover_tests(${name} DISCOVERY_TIMEOUT 60 TEST_FILTER "${CODEGEN_TEST_FILTER}" PROPERTIES TIMEOUT ${test_TIMEOUT})
endfunction()

function(codegen_benchmark name)
  cmake_parse_arguments(PARSE_ARGV 1 bench "" "" "SOURCES;LINKS")
  add_executable(${name} ${bench_SOURCES})
  target_include_directories(${name} PRIVATE ${PROJECT_SOURCE_DIR}/bench ${PROJECT_SOURCE_DIR}/tests ${PROJECT_SOURCE_DIR}/src)
  target_link_libraries(${name} PRIVATE ${bench_LINKS} codegen_warnings benchmark::benchmark benchmark::benchmark_main)
  target_compile_definitions(${name} PRIVATE CODEGEN_SOURCE_DIR="${PROJECT_SOURCE_DIR}")
endfunction()
