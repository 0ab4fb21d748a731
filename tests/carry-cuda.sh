#!/bin/bash
# Packs what a machine with an NVIDIA card needs to test and time the plugin: the plugin, GStreamer as it is installed
# here, the tests of cards. There one command does it all and prints a table last:
#
#   tests/carry-cuda.sh OUT.tar.gz        here; under 64 MiB
#   tar xzf OUT.tar.gz && card/run.sh     there; glibc not older than here, the NVIDIA driver, nothing else
set -euo pipefail
cd "$(dirname "$0")/.."
out=$(realpath -m "${1:?"tests/carry-cuda.sh OUT.tar.gz"}")
most=$((64 << 20))
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
card=$work/card
mkdir -p "$card"/{bin,lib,plugins,tests/data/published}

scripts/cuda.sh cargo build --release --features cuda --lib
test=$(scripts/cuda.sh cargo test --release --features cuda --test card --no-run --message-format=json |
    sed -n 's/.*"executable":"\([^"]*card-[^"]*\)".*/\1/p' | tail -1)
cp target/cuda/release/libgstvideointerpolate.so "$card/plugins/"
cp "$test" "$card/bin/card"
cp tests/data/published/*.txt "$card/tests/data/published/"

libraries=$(pkg-config --variable=libdir gstreamer-1.0)
cp "$(command -v gst-launch-1.0)" "$(command -v gst-inspect-1.0)" "$card/bin/"
cp "$libraries/gstreamer1.0/gstreamer-1.0/gst-plugin-scanner" "$card/bin/"
for plugin in coreelements videotestsrc videoconvertscale videoparsersbad nvcodec; do
    cp "$libraries/gstreamer-1.0/libgst$plugin.so" "$card/plugins/"
done
# All that these reach but the C library, which must be the machine's own.
ldd "$card"/bin/* "$card"/plugins/*.so | sed -n 's/.*=> \(\/[^ ]*\).*/\1/p' | sort -u |
    grep -Ev '/(ld-linux[^/]*|libc|libm|libdl|librt|libpthread|libresolv)\.so' |
    while read -r file; do cp -L "$file" "$card/lib/"; done
strip --strip-unneeded "$card"/bin/* "$card"/plugins/*.so "$card"/lib/* 2>/dev/null || true
gst-launch-1.0 -q videotestsrc num-buffers=30 pattern=ball ! video/x-raw,format=I420,width=1280,height=720,framerate=30/1 \
    ! x264enc ! filesink location="$card/clip.h264" >&2
cp tests/cuda/run.sh tests/card/torch_bench.py "$card/"

tar czf "$out" -C "$work" card
size=$(stat -c %s "$out")
echo "$out: $size bytes"
[ "$size" -lt "$most" ] || { echo "more than $most bytes" >&2; exit 1; }
