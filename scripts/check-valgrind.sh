#!/bin/bash
# Short pipelines under valgrind's memcheck; suppressions are for others' libraries only.
set -euo pipefail
cd "$(dirname "$0")/.."
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cargo build --quiet --lib
export GST_PLUGIN_PATH=$PWD/target/debug GST_REGISTRY=$folder/registry
export GST_REGISTRY_FORK=no G_SLICE=always-malloc G_DEBUG=gc-friendly
gst-inspect-1.0 videointerpolate >/dev/null

for format in I420 NV12 I420_10LE RGB; do
    echo "memcheck, $format"
    valgrind --quiet --tool=memcheck --error-exitcode=1 --num-callers=30 \
        --leak-check=full --show-leak-kinds=definite --errors-for-leak-kinds=definite \
        --suppressions=scripts/valgrind.supp \
        "$(command -v gst-launch-1.0)" -q videotestsrc num-buffers=3 pattern=ball \
        ! "video/x-raw,format=$format,width=161,height=95,framerate=30/1" \
        ! videointerpolate threads=2 ! video/x-raw,framerate=60/1 ! fakesink </dev/null
done
echo "memcheck: clean"
