#!/bin/sh
# One visit to a machine with an NVIDIA GPU: build, check, measure. Everything goes to a folder, for bench/results.
#
#   bench/gpu.sh OUT [build|check|time]...     all three by default
#
# build   the preset "cuda" (nvcc), and nothing else needs a network
# check   the tests for a GPU: every kernel, conformance, the batcher; the shipped model on the GPU and on the CPU: log-probabilities of a text, greedy completions;
#         the same under the tools of compute-sanitizer
# time    dummy weights of CodeGen1 350M and 2B and CodeGen2.5 7B: prefill, decode from 1 to 64 streams, requests of 128 + 512
#         tokens from many clients; in bf16, int8 and int4
set -eu

out=${1:?usage: bench/gpu.sh OUT [build|check|time]...}
shift
[ $# -gt 0 ] || set -- build check time
cd "$(dirname "$0")/.."
mkdir -p "$out"
out=$(cd "$out" && pwd)
program=build/cuda/examples/cli/codegen
model=examples/models/codegen-tiny-python
text=examples/embed/main.cc

build() {
  cmake --preset cuda > "$out/configure.log"
  cmake --build --preset cuda > "$out/build.log"
}

check() {
  nvidia-smi > "$out/nvidia-smi.txt"
  ctest --preset cuda > "$out/ctest.log" 2>&1 || echo "ctest --preset cuda: see ctest.log" >> "$out/FAILED"
  for device in cpu cuda; do
    "$program" score --model "$model" --device $device --prompt-file "$text" > "$out/score-$device.txt"
    for weights in bf16 int8 int4; do
      printf 'def find(items, target):\n    for i, item in enumerate(items):\n' |
        "$program" complete --model "$model" --device $device --weights $weights --max-new-tokens 64 --temperature 0 \
          > "$out/complete-$device-$weights.txt"
    done
  done
  for tool in memcheck racecheck initcheck synccheck; do
    compute-sanitizer --tool $tool --error-exitcode 9 \
      "$program" complete --model "$model" --device cuda --prompt 'def main():' --max-new-tokens 8 \
      > "$out/sanitizer-$tool.txt" 2>&1 || echo "compute-sanitizer --tool $tool: exit code $?" >> "$out/FAILED"
    compute-sanitizer --tool $tool --error-exitcode 9 build/cuda/tests/cuda/gpu/gpu_kernel_test \
      > "$out/sanitizer-kernels-$tool.txt" 2>&1 || echo "compute-sanitizer of kernels, $tool: exit code $?" >> "$out/FAILED"
  done
}

time_models() {
  for shape in codegen1-350M codegen1-2B codegen2.5-7B; do
    for weights in bf16 f16 int8 int4; do
      "$program" bench --dummy-weights bench/shapes/$shape.json --device cuda --weights $weights --json \
        --prompt-tokens 128,512,1024 --batch 1,4,8,16,32,64 > "$out/bench-$shape-$weights.json"
    done
  done
  for weights in bf16 int8; do
    "$program" bench --dummy-weights bench/shapes/codegen2.5-7B.json --device cuda --weights $weights --json --load \
      --clients 1,16,64 --prompt-tokens 128 --max-new-tokens 512 > "$out/load-7B-$weights.json"
  done
}

for step in "$@"; do
  case $step in
    build) build ;;
    check) check ;;
    time) time_models ;;
    *) echo "gpu.sh: no step \"$step\"" >&2; exit 2 ;;
  esac
done
[ ! -e "$out/FAILED" ] || { cat "$out/FAILED" >&2; exit 1; }
