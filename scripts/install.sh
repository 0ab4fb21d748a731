#!/bin/sh
# Installs the Debian or Ubuntu packages that are missing; asks for nothing when all are there.
#
#   scripts/install.sh [more packages]
#
# On another system it names what to install and goes on: the build tells what it lacks.
set -e

BUILD="build-essential pkg-config libgstreamer1.0-dev libgstreamer-plugins-base1.0-dev"
# gstreamer1.0-x has the text overlays, which a shown pipeline uses.
RUN="gstreamer1.0-tools gstreamer1.0-plugins-base gstreamer1.0-plugins-good
     gstreamer1.0-plugins-bad gstreamer1.0-plugins-ugly gstreamer1.0-libav gstreamer1.0-x"

if ! command -v cargo >/dev/null 2>&1; then
    echo "Rust is missing. Install it from https://rustup.rs, then run this again." >&2
    exit 1
fi

if ! command -v dpkg-query >/dev/null 2>&1 || ! command -v apt-get >/dev/null 2>&1; then
    if ! pkg-config --exists 'gstreamer-1.0 >= 1.22' gstreamer-video-1.0 gstreamer-check-1.0 2>/dev/null
    then
        cat >&2 <<'TEXT'
This is neither Debian nor Ubuntu: please install by hand
  a C and C++ compiler (gcc, g++) and pkg-config
  GStreamer 1.22 or newer with its development files: core, base, check
  the GStreamer plugin sets base, good, bad, ugly and libav (x264enc, avenc_aac)
TEXT
    fi
    exit 0
fi

missing=""
for package in $BUILD $RUN "$@"; do
    status=$(dpkg-query -W -f '${Status}' "$package" 2>/dev/null || true)
    [ "$status" = "install ok installed" ] || missing="$missing $package"
done
[ -n "$missing" ] || exit 0

sudo=""
if [ "$(id -u)" -ne 0 ]; then
    if ! command -v sudo >/dev/null 2>&1; then
        echo "Missing packages:$missing" >&2
        echo "Neither root nor sudo: install them as root with: apt-get install$missing" >&2
        exit 1
    fi
    sudo="sudo"
fi

echo "Installing$missing"
$sudo env DEBIAN_FRONTEND=noninteractive apt-get -q update
# Unquoted on purpose: a list of packages.
# shellcheck disable=SC2086
$sudo env DEBIAN_FRONTEND=noninteractive apt-get -q install -y --no-install-recommends $missing
