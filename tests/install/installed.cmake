# Installs the library, moves the installed tree, builds examples/embed against it and runs it; then runs the
# installed program. cmake -DROOT=<source> -DWORK=<scratch> -DMODEL=<folder> -DSHARED=ON|OFF -DCMAKE_CXX_COMPILER=...
include(${CMAKE_CURRENT_LIST_DIR}/run.cmake)

# One build tree for both: the objects are the same, only the last link differs.
set(build ${WORK}/build)
set(staging ${WORK}/staging)
set(prefix ${WORK}/moved/shared-${SHARED})
set(consumer ${WORK}/embed-shared-${SHARED})
file(REMOVE_RECURSE ${staging} ${prefix} ${consumer})
file(MAKE_DIRECTORY ${WORK}/moved)

run(${CMAKE_COMMAND} -S ${ROOT} -B ${build} -G Ninja -DCMAKE_BUILD_TYPE=Release -DCODEGEN_TESTS=OFF
    -DCMAKE_CXX_COMPILER=${CMAKE_CXX_COMPILER} -DBUILD_SHARED_LIBS=${SHARED})
run(${CMAKE_COMMAND} --build ${build})
run(${CMAKE_COMMAND} --install ${build} --prefix ${staging})
file(RENAME ${staging} ${prefix})

# No flag for the consumer but the language level, and no path of this machine.
file(GLOB_RECURSE package ${prefix}/*/codegen*.cmake)
if(NOT package)
  message(FATAL_ERROR "no CMake package below ${prefix}")
endif()
foreach(file IN LISTS package)
  file(READ ${file} text)
  if(text MATCHES "(INTERFACE_COMPILE_OPTIONS|INTERFACE_COMPILE_DEFINITIONS|INTERFACE_LINK_OPTIONS)")
    message(FATAL_ERROR "${file} forces ${CMAKE_MATCH_1} on the consumer")
  endif()
  foreach(path ${ROOT} ${WORK})
    string(FIND "${text}" ${path} position)
    if(position GREATER_EQUAL 0)
      message(FATAL_ERROR "${file} names ${path}, so the tree cannot be moved")
    endif()
  endforeach()
endforeach()

# A shared library shows the public classes and functions, nothing of the folders below them; and its consumer needs
# nothing but what the public headers show.
set(without "")
if(SHARED)
  find_program(NM nm REQUIRED)
  execute_process(COMMAND ${NM} -D -C --defined-only ${prefix}/lib/libcodegen.so
                  COMMAND_ERROR_IS_FATAL ANY OUTPUT_VARIABLE symbols)
  string(REGEX MATCHALL " [TDBR] [^\n]+" shown "${symbols}")
  list(FILTER shown EXCLUDE REGEX "^ . codegen::[A-Z]")
  if(shown OR NOT symbols MATCHES " T codegen::Model::Load")
    message(FATAL_ERROR "libcodegen.so shows too much or too little: ${shown}")
  endif()
  set(without -DCMAKE_DISABLE_FIND_PACKAGE_fmt=ON -DCMAKE_DISABLE_FIND_PACKAGE_simdjson=ON
              -DCMAKE_DISABLE_FIND_PACKAGE_hwy=ON)
endif()
run(${CMAKE_COMMAND} -S ${ROOT}/examples/embed -B ${consumer} -G Ninja -DCMAKE_BUILD_TYPE=Release
    -DCMAKE_CXX_COMPILER=${CMAKE_CXX_COMPILER} -DCMAKE_PREFIX_PATH=${prefix} ${without})
run(${CMAKE_COMMAND} --build ${consumer})
expect_completion(${consumer}/embed ${MODEL})

run(${prefix}/bin/codegen --help)
run(${prefix}/bin/codegen info --model ${MODEL})
