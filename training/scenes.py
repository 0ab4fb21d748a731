"""Synthetic scenes as short clips, to measure a network on what no camera took.

    python training/scenes.py OUT [--data DATA] [--count 60] [--size 512] [--seed 1] [--between 1] [--eased]

writes OUT/NNN.y4m; `cargo run --release --example evaluate -- OUT` makes the middle frame of each. DATA is what
`clips.py` unpacked (textures of the clips kept back from training); without it textures are procedural.

With --between 7 a clip has the frames at the phases 0, 1/8 ... 1, and OUT/NNN.map beside it has the exact distance maps of those
between, f32, the mean of 8x8 pixels a value; `cargo run --release --example distance -- OUT` measures with them. --eased lets every
layer speed up or slow down on its way, by an exponent of 1/2 to 2, so that distance and time differ.
"""

import argparse
from pathlib import Path

import numpy as np

import layers
from batches import cells, split
from clips import Clips, write


def several(rng, texture, size, between, eased):
    """The frames of a scene, [3, S, S] each, and the distance maps [between, S/8, S/8] of those between the first and the last."""
    count = between + 1
    scene = layers.invent(rng, texture, size, layers.MOST, held=False)
    if eased:
        scene = [layers.eased(layer, rng) for layer in scene]
    made = [layers.render(scene, size, k / count) for k in range(1, count)]
    maps = np.stack([cells(m.distance) for m in made])
    return [made[0].frames[0], *(m.frames[1] for m in made), made[0].frames[2]], maps


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("out", type=Path)
    p.add_argument("--data")
    p.add_argument("--count", type=int, default=60)
    p.add_argument("--size", type=int, default=512)
    p.add_argument("--seed", type=int, default=1)
    p.add_argument("--between", type=int, default=1)
    p.add_argument("--eased", action="store_true")
    args = p.parse_args()
    texture = Clips(args.data, held_out=True).texture if args.data else layers.procedural
    args.out.mkdir(parents=True, exist_ok=True)
    for n in range(args.count):
        rng = np.random.default_rng([args.seed, n])
        if args.between > 1:
            frames, maps = several(rng, texture, args.size, args.between, args.eased)
            write(args.out / f"{n:03}.y4m", [split(frame) for frame in frames])
            maps.astype("<f4").tofile(args.out / f"{n:03}.map")
            continue
        scene = layers.scene(rng, texture, args.size, 0.5)
        while scene.cut:
            scene = layers.scene(rng, texture, args.size, 0.5)
        write(args.out / f"{n:03}.y4m", [split(frame) for frame in scene.frames])


if __name__ == "__main__":
    main()
