# What the library links, each found as a package of the system (Debian: libabsl-dev libfmt-dev libsimdjson-dev
# libhwy-dev libxxhash-dev libeigen3-dev; examples: nlohmann-json3-dev; tests: libgtest-dev libgmock-dev; benchmarks:
# libbenchmark-dev). Nothing is downloaded and nothing is vendored.
set(THREADS_PREFER_PTHREAD_FLAG ON)
find_package(Threads REQUIRED)
find_package(absl REQUIRED)
find_package(fmt REQUIRED)
find_package(simdjson REQUIRED)
find_package(hwy REQUIRED)
if(CODEGEN_CUDA)
  find_package(CUDAToolkit REQUIRED)
endif()
