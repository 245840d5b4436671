#!/usr/bin/env bash
# Installs the peers that compare.py runs, each from PyPI, into a scratch folder of their own; prints
# their versions. Run it again to complete the folder. llama.cpp is compiled here, for this CPU: it
# takes some minutes.
#
#   bench/peers/install.sh SCRATCH
#
# PIP_ARGS          more arguments for every pip install, e.g. --upgrade
# TORCH_ARGS        more arguments for torch's, e.g. --index-url https://download.pytorch.org/whl/cpu,
#                   which spares the gigabytes of CUDA libraries without which PyPI's does not load
# LLAMA_CMAKE_ARGS  more arguments for llama.cpp's CMake, e.g. -DGGML_NATIVE=OFF
# LLAMA_JOBS        compilers at once; 1
set -euo pipefail

if [[ $# != 1 || $1 == -* ]]; then
  sed -n '2,/^set/{/^set/d;s/^# \{0,1\}//;p}' "$0"
  exit 2
fi
scratch=$1
mkdir -p "$scratch"
[[ -x $scratch/venv/bin/python ]] || python3 -m venv "$scratch/venv"

pip() { "$scratch/venv/bin/python" -m pip install --quiet ${PIP_ARGS:-} "$@"; }

pip --upgrade pip
pip ctranslate2 gguf
pip torch ${TORCH_ARGS:-}
pip transformers

# The library alone, with every instruction set of this CPU.
export CMAKE_ARGS="-DGGML_NATIVE=ON -DLLAMA_BUILD_TESTS=OFF \
-DLLAMA_BUILD_EXAMPLES=OFF -DLLAMA_BUILD_TOOLS=OFF -DLLAMA_BUILD_SERVER=OFF -DLLAVA_BUILD=OFF ${LLAMA_CMAKE_ARGS:-}"
export CMAKE_BUILD_PARALLEL_LEVEL=${LLAMA_JOBS:-1}
pip --no-binary llama-cpp-python llama-cpp-python

"$scratch/venv/bin/python" - <<'PYTHON'
from importlib.metadata import version

for package in ("ctranslate2", "torch", "transformers", "llama-cpp-python", "gguf", "numpy"):
    print(package, version(package))
PYTHON
