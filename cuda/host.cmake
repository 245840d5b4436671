# codegen_cuda_host_library(NAME RUNTIME): the host side of the CUDA backend, which is what calls the CUDA runtime and is
# compiled by the host's compiler; for a GPU against the CUDA runtime, for tests without one against a substitute.
set(CODEGEN_CUDA_HOST_SOURCES
  buffer.cc check.cc event.cc gemm.cc gemm_plan.cc graph.cc library.cc stream.cc)
list(TRANSFORM CODEGEN_CUDA_HOST_SOURCES PREPEND ${CMAKE_CURRENT_LIST_DIR}/)

function(codegen_cuda_host_library name runtime)
  add_library(${name} STATIC ${CODEGEN_CUDA_HOST_SOURCES})
  target_compile_features(${name} PUBLIC cxx_std_20)
  target_include_directories(${name} PUBLIC ${PROJECT_SOURCE_DIR} ${PROJECT_SOURCE_DIR}/src ${PROJECT_SOURCE_DIR}/include)
  target_include_directories(${name} SYSTEM PUBLIC ${CUDAToolkit_INCLUDE_DIRS})
  target_link_libraries(${name} PUBLIC codegen_base ${runtime} absl::flat_hash_map absl::hash ${CMAKE_DL_LIBS}
                        PRIVATE codegen_warnings)
  set_target_properties(${name} PROPERTIES POSITION_INDEPENDENT_CODE ON CXX_VISIBILITY_PRESET hidden
                        VISIBILITY_INLINES_HIDDEN ON CXX_EXTENSIONS OFF)
endfunction()
