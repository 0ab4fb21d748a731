#!/bin/sh
# Runs a command, as cargo, with what the feature `cuda` is built with; that is fetched first, once.
#
#   scripts/cuda.sh cargo build --release --features cuda
#
# The compiler lies in target/cuda beside what is built with it, and needs no GPU.
set -e
cd "$(dirname "$0")/.."

if [ "$(uname -s) $(uname -m)" != "Linux x86_64" ]; then
    echo "The plugin is built with CUDA on x86-64 Linux only; this is $(uname -s) $(uname -m)." >&2
    exit 1
fi

root=$PWD/target/cuda
mkdir -p "$root"

# True the first time, and whenever one of these files is another than then.
is_new() {
    stamp=$root/$1.from
    shift
    cksum "$@" | cmp -s - "$stamp" && return 1
    rm -f "$stamp"
}

if is_new toolkit scripts/cuda/requirements.txt; then
    scripts/install.sh python3-venv
    rm -rf "$root/toolkit" "$root/venv"
    python3 -m venv "$root/venv"
    echo "Fetching the CUDA compiler (104 MB)"
    "$root/venv/bin/pip" install --quiet --no-deps --no-compile --target "$root/toolkit" \
        --requirement scripts/cuda/requirements.txt
    cksum scripts/cuda/requirements.txt >"$root/toolkit.from"
fi
if is_new standins scripts/cuda/standins.py Cargo.lock; then
    python3 scripts/cuda/standins.py "$root/standins"
    cksum scripts/cuda/standins.py Cargo.lock >"$root/standins.from"
fi

export CUDA_HOME="$root/toolkit/nvidia/cu13"
export CUDARC_CUDA_VERSION=13000
# Of candle's kernels; the oldest card that CUDA 13 has code for, which newer ones compile when they load it.
export CUDA_COMPUTE_CAP=75
export NVCC="$PWD/scripts/cuda/nvcc" NVCC_REAL="$CUDA_HOME/bin/nvcc"
export CUDA_STANDINS="$root/standins"
export CARGO_TARGET_DIR="$root"
exec "$@"
