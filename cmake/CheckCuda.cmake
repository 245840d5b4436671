# Builds the preset "cuda", kernels for devices among them, and runs its program once: with a GPU it completes, without one
# it has to say so. cmake -DROOT=<source tree> -P cmake/CheckCuda.cmake
cmake_minimum_required(VERSION 3.25)

set(PRESET cuda)
set(RUN_TESTS OFF)
include(${CMAKE_CURRENT_LIST_DIR}/RunPreset.cmake)

execute_process(
  COMMAND build/cuda/examples/cli/codegen complete --model examples/models/codegen-tiny-python --device cuda --prompt "def"
          --max-new-tokens 4
  WORKING_DIRECTORY ${ROOT} RESULT_VARIABLE failed OUTPUT_VARIABLE output ERROR_VARIABLE error)
if(failed AND NOT error MATCHES "FAILED_PRECONDITION: .*GPU.*driver")
  message(FATAL_ERROR "codegen complete --device cuda: exit code ${failed}\n${output}${error}")
endif()
message(STATUS "codegen complete --device cuda: ${output}${error}")
