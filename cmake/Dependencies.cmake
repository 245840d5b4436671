# What the library links, each found as a package of the system (Debian: libabsl-dev libfmt-dev libsimdjson-dev
# libhwy-dev; tests: libgtest-dev; benchmarks: libbenchmark-dev). Nothing is downloaded and nothing is vendored.
set(THREADS_PREFER_PTHREAD_FLAG ON)
find_package(Threads REQUIRED)
find_package(absl REQUIRED)
find_package(fmt REQUIRED)
find_package(simdjson REQUIRED)
find_package(hwy REQUIRED)
