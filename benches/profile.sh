#!/bin/bash
# Where the time of a pipeline with the element goes, kernel by kernel, as a table: samples of perf while the clip of `make demo`
# is doubled. What the compiler has merged into its caller counts there; `raster` are the small kernels that are loops over rows.
#
#   SIZE=1920x1080 QUALITY=balanced SECONDS_OF_FILM=2 benches/profile.sh
set -euo pipefail
cd "$(dirname "$0")/.."
SIZE=${SIZE:-1920x1080}
QUALITY=${QUALITY:-balanced}
SECONDS_OF_FILM=${SECONDS_OF_FILM:-2}
command -v perf >/dev/null || { echo "perf is missing: apt install linux-perf, or linux-tools-generic"; exit 1; }

. benches/clip.sh

element() {
    "$@" gst-launch-1.0 -q filesrc location="$folder/clip.yuv" \
        ! rawvideoparse format=i420 width="${SIZE%x*}" height="${SIZE#*x}" framerate=30/1 \
        ! videointerpolate qos=false quality="$QUALITY" ! video/x-raw,framerate=60/1 ! fakesink sync=false
}
element env
element perf record --quiet --freq 4999 --output "$folder/samples"

printf '\n%s, %s\n\n| share of the CPU time | where |\n|---|---|\n' "$SIZE" "$QUALITY"
perf report --input "$folder/samples" --stdio --sort dso,sym 2>/dev/null | grep -v '^#' | awk '
    NF < 3 { next }
    {
        where = $0
        sub(/^.*\[[.k]\] /, "", where)
        if ($2 ~ /kernel/) where = "the system"
        else if ($2 !~ /videointerpolate/) where = "libraries (" $2 ")"
        else if (match(where, /kernels::[a-z]+/)) where = "`" substr(where, RSTART, RLENGTH) "`"
        else if (match(where, /gstvideointerpolate::[a-z]+/)) where = "`" substr(where, RSTART + 21, RLENGTH - 21) "`"
        else where = "inlined library code"
        share[where] += $1
    }
    END { for (where in share) if (share[where] >= 0.5) printf "| %.1f %% | %s |\n", share[where], where }' \
    | sort -t'|' -k2,2nr
