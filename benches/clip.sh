# Read by the scripts beside it: builds the plugin, and renders the clip of `make demo` at $SIZE, $SECONDS_OF_FILM long, as I420
# into $folder/clip.yuv; $folder goes with the script.
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cargo build --quiet --release --lib --example demo
export GST_PLUGIN_PATH=$PWD/target/release GST_REGISTRY=$folder/registry
target/release/examples/demo --render "$folder/clip.mp4" --size "$SIZE" --seconds "$SECONDS_OF_FILM"
gst-launch-1.0 -q filesrc location="$folder/clip.mp4" ! decodebin ! videoconvert \
    ! video/x-raw,format=I420 ! filesink location="$folder/clip.yuv"
