#!/bin/bash
# A clip doubled by this element and by others, as a table: by videorate; where ffmpeg is installed, by its minterpolate
# filter; where training/venv is, by the network's twin in PyTorch. Runs alternate, so that a busy machine disturbs all
# alike; medians of $RUNS runs, as ratios to ffmpeg's blend (or to videorate).
#
#   SIZE=1280x720 SECONDS_OF_FILM=2 RUNS=3 benches/peers.sh
set -euo pipefail
cd "$(dirname "$0")/.."
SIZE=${SIZE:-1280x720}
SECONDS_OF_FILM=${SECONDS_OF_FILM:-2}
RUNS=${RUNS:-3}

. benches/clip.sh
width=${SIZE%x*} height=${SIZE#*x}
frames=$(($(stat -c %s "$folder/clip.yuv") / (width * height * 3 / 2)))

element() {
    gst-launch-1.0 -q filesrc location="$folder/clip.yuv" \
        ! rawvideoparse format=i420 width="$width" height="$height" framerate=30/1 \
        ! queue ! $1 ! video/x-raw,framerate=60/1 ! fakesink sync=false
}
filter() {
    ffmpeg -nostdin -v error -f rawvideo -pix_fmt yuv420p -s "$SIZE" -r 30 -i "$folder/clip.yuv" \
        -vf "$1" -f null -
}
run() {
    case $1 in
        videorate | videointerpolate*) element "$1" ;;
        "ffmpeg blend") filter minterpolate=fps=60:mi_mode=blend ;;
        "ffmpeg minterpolate") filter minterpolate=fps=60 ;;
    esac
}

methods=(videorate)
for quality in fast balanced high; do methods+=("videointerpolate quality=$quality"); done
base=videorate
if command -v ffmpeg >/dev/null 2>&1; then
    methods+=("ffmpeg blend" "ffmpeg minterpolate")
    base="ffmpeg blend"
fi
# PyTorch's own start takes seconds, so that the twin tells its time itself.
twin="balanced in PyTorch, search left out"
[ ! -x training/venv/bin/python ] || methods+=("$twin")

# Milliseconds that a method takes for all new frames.
milliseconds() {
    if [ "$1" = "$twin" ]; then
        each=$(training/venv/bin/python training/speed.py "$folder/clip.yuv" "$SIZE" --threads "$(nproc)")
        awk -v each="$each" -v n="$frames" 'BEGIN { printf "%d\n", each * n }'
        return
    fi
    local start=$EPOCHREALTIME
    run "$1"
    echo $(((${EPOCHREALTIME/./} - ${start/./}) / 1000))
}
run videointerpolate
for _ in $(seq "$RUNS"); do
    for method in "${methods[@]}"; do
        echo "$method;$(milliseconds "$method")" >>"$folder/times"
    done
done

median() {
    grep "^$1;" "$folder/times" | cut -d';' -f2 | sort -n | sed -n "$(((RUNS + 1) / 2))p"
}
unit=$(median "$base")
printf '\n%s, %d frames doubled, median of %d alternating runs, start-up included\n\n' "$SIZE" "$frames" "$RUNS"
printf '| method | ms per new frame | ratio to %s |\n|---|---|---|\n' "$base"
for method in "${methods[@]}"; do
    awk -v name="$method" -v ms="$(median "$method")" -v unit="$unit" -v n="$frames" \
        'BEGIN { printf "| %s | %.1f | %.2f |\n", name, ms / n, ms / unit }'
done
