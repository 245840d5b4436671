# What clang's memory sanitizer says of kernels with and without mistakes:
# cmake -DCLANG=<clang++> -DROOT=<source tree> -DCUDA=<headers of CUDA> -DWORK=<scratch folder> -P memory_sanitizer.cmake
cmake_minimum_required(VERSION 3.25)

file(GLOB sources ${ROOT}/tests/support/simt/*.cc)
list(FILTER sources EXCLUDE REGEX "context_ucontext")
set(program ${WORK}/memory_sanitizer)
execute_process(
  COMMAND ${CLANG} -std=c++20 -O1 -g1 -fsanitize=memory -Wno-unknown-pragmas -I${ROOT} -I${ROOT}/src -I${ROOT}/tests
          -isystem ${CUDA} ${ROOT}/tests/simt/memory_sanitizer.cc ${sources} -o ${program}
  COMMAND_ERROR_IS_FATAL ANY)

execute_process(COMMAND ${program} nothing COMMAND_ERROR_IS_FATAL ANY)
foreach(plant uninitialised barrier wait)
  execute_process(COMMAND ${program} ${plant} RESULT_VARIABLE result OUTPUT_VARIABLE text ERROR_VARIABLE text)
  if(result EQUAL 0 OR NOT text MATCHES "MemorySanitizer")
    message(FATAL_ERROR "the memory sanitizer does not find the mistake '${plant}':\n${text}")
  endif()
endforeach()
message(STATUS "the memory sanitizer finds all mistakes, and none where there is none")
