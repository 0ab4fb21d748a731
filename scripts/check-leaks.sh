#!/bin/bash
# Runs every line of pipelines/, shortened, under GStreamer's leak tracer; fails on a leak.
set -euo pipefail
cd "$(dirname "$0")/.."
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cargo build --quiet --lib --example demo
target/debug/examples/demo --render "$folder/clip.mp4" --size 160x96 --seconds 1
export GST_PLUGIN_PATH=$PWD/target/debug GST_REGISTRY=$folder/registry

failed=0
while IFS=$'\t' read -r name line; do
    log=$folder/$name.log
    # Decoder and encoder of NVIDIA cards are there where a card is.
    if [[ $line == *nvh264dec* ]] && ! gst-inspect-1.0 --exists nvh264dec; then
        echo "skipped: $name (no card)"
        continue
    fi
    # A line without an end of its own is interrupted, which shuts it down in order.
    seconds=60
    case $line in *udpsrc*) seconds=8 ;; esac
    code=0
    # The line is parsed by gst-launch; eval keeps its quotes.
    GST_TRACERS=leaks GST_DEBUG=GST_TRACER:7 GST_DEBUG_NO_COLOR=1 \
        eval "timeout -s INT $seconds gst-launch-1.0 -q $line" </dev/null >"$log" 2>&1 || code=$?
    if grep -q ':0:: object-alive, ' "$log"; then
        echo "LEAK  $name"
        grep ':0:: object-alive, ' "$log" | head -20
        failed=1
    elif [ "$code" -ne 0 ] && [ "$seconds" -eq 60 ]; then
        echo "FAIL  $name (exit code $code)"
        tail -5 "$log"
        failed=1
    else
        echo "ok    $name"
    fi
done < <(scripts/pipelines.sh "$folder/clip.mp4" "$folder/out")
exit $failed
