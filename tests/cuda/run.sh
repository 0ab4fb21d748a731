#!/bin/bash
# What tests/carry-cuda.sh has packed: tests and times a card against the CPU. Prints all as it is known, and once more last.
#
#   run.sh [FRAMES]      frames of each clip; 30 unless it is said
set -uo pipefail
here=$(cd "$(dirname "$0")" && pwd)
frames=${1:-30}
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
export PATH=$here/bin:$PATH LD_LIBRARY_PATH=$here/lib${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}
# cuDNN and what it needs, as an installation of PyTorch has them.
pip=$(python3 -c 'import glob, nvidia; print(":".join(d for p in nvidia.__path__ for d in glob.glob(p + "/*/lib")))' 2>/dev/null)
LD_LIBRARY_PATH+=${pip:+:$pip}
export GST_PLUGIN_SYSTEM_PATH_1_0=$here/plugins GST_PLUGIN_SCANNER_1_0=$here/bin/gst-plugin-scanner
export GST_REGISTRY_1_0=$scratch/registry.bin CARGO_MANIFEST_DIR=$here
export CARD_CHECKPOINT=$scratch/network.safetensors

command -v nvidia-smi >/dev/null && nvidia-smi --query-gpu=name,driver_version,compute_cap --format=csv
gst-inspect-1.0 videointerpolate >/dev/null && echo "the plugin loads"
"$here/bin/card" --nocapture --test-threads=1 2>&1 | tee "$scratch/tests"
tests=${PIPESTATUS[0]}
verdict=passed
# but for what CARD_NETWORKS leaves out
grep 'skipped: ' "$scratch/tests" | grep -qv CARD_NETWORKS && verdict="skipped, there is no card that can be used"
[ "$tests" = 0 ] || verdict=FAILED

# Seconds that a clip takes.
time_of() { # size device
    local began ended
    began=$(date +%s.%N)
    gst-launch-1.0 -q videotestsrc num-buffers="$frames" pattern=zone-plate kx2=20 ky2=20 kt=1 \
        ! "video/x-raw,format=I420,width=${1%x*},height=${1#*x},framerate=30/1" \
        ! videointerpolate model="$CARD_CHECKPOINT" device="$2" qos=false ! fakesink >&2 || { echo failed; return; }
    ended=$(date +%s.%N)
    awk -v a="$began" -v b="$ended" 'BEGIN { printf "%.2f", b - a }'
}

# Whose the card's memory is, as it runs.
"$here/bin/card" --ignored --nocapture whose_memory 2>&1 | grep -E '^memory|panicked' | tee "$scratch/memory"

# How a network of others runs, and why so.
GST_DEBUG=videointerpolate:4 GST_DEBUG_NO_COLOR=1 gst-launch-1.0 -q videotestsrc num-buffers=2 ! video/x-raw,format=I420,width=640,height=360 \
    ! videointerpolate model="$CARD_CHECKPOINT" device=cuda ! fakesink 2>&1 | grep -o 'runs on .*'

# What the built-in network makes of a clip in the host's memory, and of the same in a card's: the same bytes.
there="skipped, cudaupload is not there"
if gst-inspect-1.0 cudaupload >/dev/null 2>&1; then
    for way in "identity identity" "cudaupload cudadownload"; do
        gst-launch-1.0 -q videotestsrc num-buffers="$frames" pattern=ball ! video/x-raw,format=NV12,width=1280,height=720,framerate=30/1 \
            ! ${way% *} ! videointerpolate device=cuda quality=balanced qos=false ! ${way#* } ! filesink location="$scratch/${way% *}" >&2
    done
    there=FAILED
    [ -s "$scratch/identity" ] && cmp -s "$scratch/identity" "$scratch/cudaupload" && there=passed
fi

# The same of pictures that the card has decoded: in its memory, and fetched from there before.
decoded="skipped, nvh264dec is not there"
if gst-inspect-1.0 nvh264dec >/dev/null 2>&1; then
    for way in "cudadownload ! videointerpolate" "videointerpolate ! cudadownload"; do
        gst-launch-1.0 -q filesrc location="$here/clip.h264" ! h264parse ! nvh264dec \
            ! ${way/interpolate/interpolate device=cuda quality=balanced qos=false} \
            ! videoconvert ! video/x-raw,format=I420 ! filesink location="$scratch/${way%% *}" >&2
    done
    decoded=FAILED
    [ -s "$scratch/cudadownload" ] && cmp -s "$scratch/cudadownload" "$scratch/videointerpolate" && decoded=passed
fi

table=""
for size in 1280x720 1920x1080; do
    for device in cpu cuda; do
        table+="| $size | $device | $(time_of $size $device) |"$'\n'
    done
done
CARD_NETWORKS="fast,balanced,high,rife-4.6,rife-4.25,ifrnet f16,ifrnet cudnn,ifrnet cudnn-all" "$here/bin/card" --ignored --nocapture bench 2>&1 | grep --line-buffered -E '^\||GB/s|cuDNN|panicked' |
    tee "$scratch/bench"

# candle's own convolutions, where PyTorch has brought a cuBLAS.
cublas=$(python3 -c 'import glob, nvidia; print(*[f for p in nvidia.__path__ for f in glob.glob(p + "/*/lib/libcublas.so.*")])' 2>/dev/null)
CARD_CUBLAS=${cublas##* } "$here/bin/card" --ignored --nocapture candles_own 2>&1 | grep --line-buffered -E "^\||candle's own|panicked" |
    tee "$scratch/candles"

# The same network as RIFE 4.25 and 4.26, where PyTorch is there.
python3 -c 'import torch' 2>/dev/null && python3 "$here/torch_bench.py" --sizes 1920x1080 2>&1 |
    grep --line-buffered -E '^\||PyTorch|Error' | tee "$scratch/torch"

echo
echo "tests of the card: $verdict"
echo "pictures in a card's memory: $there"
echo "pictures that a card has decoded: $decoded"
echo
cat "$scratch/memory"
echo
cat "$scratch/bench"
cat "$scratch/candles"
[ ! -s "$scratch/torch" ] || { echo; cat "$scratch/torch"; }
echo
echo "| size | device | seconds for $frames frames doubled by a network as large as RIFE 4, start included |"
echo "|---|---|---|"
printf %s "$table"
[[ "$there$decoded" != *FAILED* ]] || exit 1
exit $tests
