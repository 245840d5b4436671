# What the library links, each found as a package of the system (Debian: libabsl-dev libfmt-dev libsimdjson-dev
# libhwy-dev libxxhash-dev libeigen3-dev; examples: nlohmann-json3-dev; tests: libgtest-dev libgmock-dev; benchmarks:
# libbenchmark-dev). Nothing is downloaded and nothing is vendored.
set(THREADS_PREFER_PTHREAD_FLAG ON)
find_package(Threads REQUIRED)
find_package(absl REQUIRED)
find_package(fmt REQUIRED)
find_package(simdjson REQUIRED)
find_package(hwy REQUIRED)

# AUTO means "when a toolkit is found and there is something to build with it", so here it builds for the CPU alone.
if(CODEGEN_CUDA AND NOT CODEGEN_CUDA STREQUAL "AUTO")
  message(FATAL_ERROR "CODEGEN_CUDA=${CODEGEN_CUDA}: this version of codegen has no CUDA backend yet. "
                      "Configure with CODEGEN_CUDA=AUTO (the default) or OFF.")
endif()
