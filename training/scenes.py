"""Synthetic scenes as clips of three frames, to measure a network on what no camera took.

    python training/scenes.py OUT [--data DATA] [--count 60] [--size 512] [--seed 1]

writes OUT/NNN.y4m; `cargo run --release --example evaluate -- OUT` makes the middle frame of each. DATA is what
`clips.py` unpacked (textures of the clips kept back from training); without it textures are procedural.
"""

import argparse
from pathlib import Path

import numpy as np

import layers
from batches import split
from clips import Clips


def write(path, frames):
    """Frames of u8 planes Y, U, V as 4:2:0 in a YUV4MPEG2 file."""
    h, w = frames[0][0].shape
    with open(path, "wb") as f:
        f.write(f"YUV4MPEG2 W{w} H{h} F24:1 Ip A1:1 C420jpeg\n".encode())
        for frame in frames:
            f.write(b"FRAME\n")
            for plane in frame:
                f.write(np.ascontiguousarray(plane).tobytes())


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("out", type=Path)
    p.add_argument("--data")
    p.add_argument("--count", type=int, default=60)
    p.add_argument("--size", type=int, default=512)
    p.add_argument("--seed", type=int, default=1)
    args = p.parse_args()
    texture = Clips(args.data, held_out=True).texture if args.data else layers.procedural
    args.out.mkdir(parents=True, exist_ok=True)
    for n in range(args.count):
        rng = np.random.default_rng([args.seed, n])
        scene = layers.scene(rng, texture, args.size, 0.5)
        while scene.cut:
            scene = layers.scene(rng, texture, args.size, 0.5)
        write(args.out / f"{n:03}.y4m", [split(frame) for frame in scene.frames])


if __name__ == "__main__":
    main()
