# What the host's compiler compiles of the CUDA backend, for a GPU against the CUDA runtime, for tests without one against a
# substitute.
#
# codegen_cuda_host_library(NAME RUNTIME)         owners of what the CUDA runtime and cuBLASLt make
# codegen_cuda_backend_library(NAME HOST KERNELS) the device and the backend, on one of those and the kernels
function(codegen_cuda_library name)
  cmake_parse_arguments(PARSE_ARGV 1 library "" "" "SOURCES;LINKS")
  list(TRANSFORM library_SOURCES PREPEND ${PROJECT_SOURCE_DIR}/cuda/)
  add_library(${name} STATIC ${library_SOURCES})
  target_compile_features(${name} PUBLIC cxx_std_20)
  target_include_directories(${name} PUBLIC ${PROJECT_SOURCE_DIR} ${PROJECT_SOURCE_DIR}/src ${PROJECT_SOURCE_DIR}/include)
  target_include_directories(${name} SYSTEM PUBLIC ${CUDAToolkit_INCLUDE_DIRS})
  target_link_libraries(${name} PUBLIC ${library_LINKS} PRIVATE codegen_warnings)
  set_target_properties(${name} PROPERTIES POSITION_INDEPENDENT_CODE ON CXX_VISIBILITY_PRESET hidden
                        VISIBILITY_INLINES_HIDDEN ON CXX_EXTENSIONS OFF)
endfunction()

function(codegen_cuda_host_library name runtime)
  codegen_cuda_library(${name}
    SOURCES buffer.cc check.cc event.cc gemm.cc gemm_plan.cc gemm_tuning.cc graph.cc library.cc stream.cc
    LINKS codegen_base ${runtime} absl::cleanup absl::flat_hash_map absl::hash ${CMAKE_DL_LIBS})
endfunction()

function(codegen_cuda_backend_library name host)
  codegen_cuda_library(${name}
    SOURCES cuda_backend.cc cuda_device.cc linear.cc measure.cc pack.cc scratch.cc step_arrays.cc transfer.cc tune.cc
    LINKS ${host} ${ARGN} codegen_backend codegen_quant)
endfunction()
