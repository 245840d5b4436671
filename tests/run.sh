#!/bin/sh
# Installs what is missing, builds everything and runs every test that this machine can run: those of the development
# build, and as tests of it the suite under the address, undefined-behaviour and thread sanitizers (less what
# tests/CMakeLists.txt leaves out there), the kernels for Arm, a build for GPUs where nvcc is, and installed consumers.
# Tests of CUDA need the headers of its toolkit, which this does not install.
# One ctest run shows it all and has the last word. Build trees stay in build/, so a second run only tests.
set -eu
cd "$(dirname "$0")/.."

step() { printf '\n== %s\n' "$1"; }

step "1/3 What the build and the tests need"
cmake/install_missing.sh cmake ninja-build g++ libabsl-dev libfmt-dev libsimdjson-dev libhwy-dev \
  libxxhash-dev libeigen3-dev nlohmann-json3-dev libgtest-dev libgmock-dev libbenchmark-dev ccache clang libclang-rt-dev \
  g++-aarch64-linux-gnu

# Both reach the builds inside the tests too.
CTEST_PARALLEL_LEVEL=$(nproc)
CMAKE_CXX_COMPILER_LAUNCHER=ccache
export CTEST_PARALLEL_LEVEL CMAKE_CXX_COMPILER_LAUNCHER

# The files of a folder in one piece, which takes half the time; install.* compile them one by one.
step "2/3 Building build/dev: library, program, tests and benchmarks, warnings as errors"
cmake --preset dev -DCODEGEN_CI_TESTS=ON -DCMAKE_UNITY_BUILD=ON -DCMAKE_UNITY_BUILD_BATCH_SIZE=0 \
  --log-level=WARNING > /dev/null
cmake --build --preset dev

step "3/3 Testing; preset.* and install.* build whole trees and take minutes"
[ -d ../shared/golden ] || echo "Left out for want of ../shared/golden: tests named Golden or Published."
ctest --preset dev
