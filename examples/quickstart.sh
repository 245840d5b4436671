#!/bin/sh
# From a fresh clone on Debian 12 (or a system with its packages) to completed code: installs what is missing, builds the
# command-line program and completes a prompt with the small model that the repository ships, on the CPU.
#
#   examples/quickstart.sh [PROMPT]
set -eu
cd "$(dirname "$0")/.."

step() { printf '\n== %s\n' "$1"; }

step "1/3 What the build needs"
cmake/install_missing.sh cmake ninja-build g++ libabsl-dev libfmt-dev libsimdjson-dev libhwy-dev \
  libxxhash-dev libeigen3-dev nlohmann-json3-dev

step "2/3 Building build/release"
cmake --preset release --log-level=WARNING > /dev/null
cmake --build --preset release --target codegen_cli

prompt=${1:-'def find(items, target):
    for i, item in enumerate(items):
'}
step "3/3 Completing a prompt, greedily, up to a blank line or 64 tokens"
set -- build/release/examples/cli/codegen complete --model examples/models/codegen-tiny-python \
  --prompt "$prompt" --max-new-tokens 64 --stop '

'
printf '%s complete --model examples/models/codegen-tiny-python --prompt ...\n\n%s' "$1" "$prompt"
"$@"
printf '\n\nMore: %s --help\n' "$1"
