# Builds and runs examples/embed with the library as a subdirectory of a host project.
# cmake -DROOT=<source> -DWORK=<scratch> -DMODEL=<folder> -DCMAKE_CXX_COMPILER=... -P subdirectory.cmake
include(${CMAKE_CURRENT_LIST_DIR}/run.cmake)

set(build ${WORK}/subdirectory)
run(${CMAKE_COMMAND} -S ${CMAKE_CURRENT_LIST_DIR}/subdirectory -B ${build} -G Ninja -DCMAKE_BUILD_TYPE=Release
    -DCMAKE_CXX_COMPILER=${CMAKE_CXX_COMPILER} -DCODEGEN_ROOT=${ROOT})
run(${CMAKE_COMMAND} --build ${build})
expect_completion(${build}/embed ${MODEL})
