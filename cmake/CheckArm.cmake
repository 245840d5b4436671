# Compiles the kernels for 64-bit Arm, whose vectors no other check sees:
# cmake -DROOT=<source tree> -DCOMPILER=aarch64-linux-gnu-g++ -DWORK=<scratch folder> -P cmake/CheckArm.cmake
#
# The headers of the dependencies are the same for every architecture, and taken from this machine.
cmake_minimum_required(VERSION 3.25)

file(MAKE_DIRECTORY ${WORK})
foreach(headers absl Eigen fmt hwy simdjson.h xxhash.h)
  find_path(found NAMES ${headers} PATHS /usr/include PATH_SUFFIXES eigen3 NO_CACHE REQUIRED)
  file(CREATE_LINK ${found}/${headers} ${WORK}/${headers} SYMBOLIC)
  unset(found)
endforeach()

set(failed "")
file(GLOB sources ${ROOT}/src/backend/*.cc ${ROOT}/src/cpu/*.cc ${ROOT}/src/quant/*.cc ${ROOT}/src/model/row_hash.cc)
foreach(source IN LISTS sources)
  execute_process(
    COMMAND ${COMPILER} -std=c++20 -O0 -ffp-contract=off -fvisibility=hidden -Wall -Wextra -Wpedantic -Wconversion
            -Wshadow -Wno-missing-field-initializers -Werror -I${ROOT}/src -I${ROOT}/include -isystem ${WORK}
            -c ${source} -o ${WORK}/object.o
    RESULT_VARIABLE result ERROR_VARIABLE errors)
  if(result)
    list(APPEND failed ${source})
    message("${errors}")
  endif()
endforeach()
list(LENGTH sources count)
if(failed OR count EQUAL 0)
  message(FATAL_ERROR "of ${count} files for Arm these do not compile: ${failed}")
endif()
message(STATUS "${count} files compile for Arm")
