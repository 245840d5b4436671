# Configures, builds and tests the whole tree in build/<preset>, as a developer would by hand:
# cmake -DROOT=<source tree> -DPRESET=tsan [-DRUN_TESTS=OFF] -P cmake/RunPreset.cmake
#
# Ran as a CTest test of another build, so that one ctest run tells the whole truth.
cmake_minimum_required(VERSION 3.25)

function(run)
  execute_process(COMMAND ${ARGV} WORKING_DIRECTORY ${ROOT} COMMAND_ECHO STDOUT COMMAND_ERROR_IS_FATAL ANY)
endfunction()

run(${CMAKE_COMMAND} --preset ${PRESET})
run(${CMAKE_COMMAND} --build --preset ${PRESET})
if(NOT DEFINED RUN_TESTS OR RUN_TESTS)
  run(${CMAKE_CTEST_COMMAND} --preset ${PRESET})
endif()
