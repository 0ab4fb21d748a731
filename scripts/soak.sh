#!/bin/sh
# 10,000 frames at 320x240 through the element: resident memory stays flat.
set -e
cd "$(dirname "$0")/.."
exec cargo test --quiet --test soak -- --ignored --nocapture
