"""What classical methods make of the frames that `evaluate` withholds, a clip at a time.

    cargo run --release --example evaluate -- --json CLIPS > ours.json
    python training/classical.py CLIPS [--evaluate ours.json]

CLIPS are videos or folders of them; in a folder those whose names begin with `cut_` are left out. Every second frame is kept, those
between are made and compared in luma as `evaluate` does it: PSNR, the mean over the frames. With --evaluate its model joins the table,
with the count of clips on which it is above all others, and how far `evaluate`'s own repeat, blend and minterpolate are from those here.

- repeat, blend: the kept frame before; the mean of both.
- minterpolate: ffmpeg's filter with its defaults.
- DIS: OpenCV's dense inverse search (T. Kroeger et al., ECCV 2016), preset medium, in both directions. The middle's motion is the mean of
  both, halved (H. Jiang et al., CVPR 2018); both frames are fetched along it, and weigh as far as forward and backward motion agree
  where they were fetched.
- FlowFPS, BlockFPS: MVTools, if Python has VapourSynth (`pip install vapoursynth vapoursynth-mvtools`, Python 3.12 or newer).
  FlowFPS with its defaults, BlockFPS with overlapping blocks and masks of both occlusions. Their detection of cuts is off.

Needs numpy, OpenCV, and ffmpeg on PATH.
"""

import argparse
import json
import pathlib
import subprocess

import cv2
import numpy as np

from scores import psnr, ssim, worst

try:
    import vapoursynth as vs
except ImportError:
    vs = None

VIDEO = {".mp4", ".mkv", ".webm", ".mov", ".avi", ".y4m"}
# Frames a second of what is kept; no figure depends on it.
RATE = 25
# MVTools: every block and every frame counts as found, as between frames of one shot.
NO_CUTS = {"thscd1": 10000, "thscd2": 255}


class Frames:
    """Planar 4:2:0 pictures of one size: data [n, bytes]."""

    def __init__(self, data, width, height):
        self.width, self.height = width, height
        self.sizes = [(height, width)] + 2 * [((height + 1) // 2, (width + 1) // 2)]
        self.data = data.reshape(-1, sum(h * w for h, w in self.sizes))

    def __len__(self):
        return len(self.data)

    def planes(self, n):
        """Y, U, V of a picture, [H, W] each; they may be written to if data may."""
        ends = np.cumsum([h * w for h, w in self.sizes])[:-1]
        return [part.reshape(size) for part, size in zip(np.split(self.data[n], ends), self.sizes)]

    def luma(self, n):
        return self.planes(n)[0]

    def kept(self):
        """Every second one, from the first on, up to the last that ends a gap."""
        return Frames(self.data[: len(self) - (len(self) - 1) % 2 : 2], self.width, self.height)


def ffmpeg(*arguments, stdin=None):
    """What ffmpeg writes, as bytes."""
    command = ["ffmpeg", "-v", "error", *map(str, arguments), "-f", "rawvideo", "-pix_fmt", "yuv420p", "pipe:1"]
    return np.frombuffer(subprocess.run(command, check=True, input=stdin, stdout=subprocess.PIPE).stdout, np.uint8)


def read(path):
    probe = ["ffprobe", "-v", "error", "-select_streams", "v:0", "-show_entries", "stream=width,height", "-of", "json", path]
    stream = json.loads(subprocess.run(probe, check=True, capture_output=True, text=True).stdout)["streams"][0]
    data = ffmpeg("-nostdin", "-i", path, "-vsync", "passthrough")
    return Frames(data, stream["width"], stream["height"])


def videos(paths):
    for path in paths:
        inside = sorted(p for p in path.iterdir() if p.suffix in VIDEO and not p.name.startswith("cut_")) if path.is_dir() else [path]
        yield from inside


# The methods: kept frames -> luma [H, W] u8 of the middle of every gap


def repeat(kept):
    return [kept.luma(n) for n in range(len(kept) - 1)]


def blend(kept):
    return [((a.astype(np.uint16) + b + 1) // 2).astype(np.uint8) for a, b in pairs(kept)]


def pairs(kept):
    return [(kept.luma(n), kept.luma(n + 1)) for n in range(len(kept) - 1)]


def minterpolate(kept):
    """The filter makes nothing for the last gap of its input, so the last frame goes in twice."""
    size = f"{kept.width}x{kept.height}"
    raw = ["-f", "rawvideo", "-pix_fmt", "yuv420p", "-video_size", size, "-framerate", RATE, "-i", "pipe:0"]
    made = ffmpeg(*raw, "-vf", f"minterpolate=fps={2 * RATE}", stdin=kept.data.tobytes() + kept.data[-1].tobytes())
    return middles(kept, Frames(made, kept.width, kept.height).luma)


def middles(kept, luma):
    """Of pictures at twice the rate, those between; the others have to be the kept ones."""
    for n in range(len(kept) - 1):
        if not np.array_equal(luma(2 * n), kept.luma(n)):
            raise ValueError(f"kept frame {n} did not come back")
    return [luma(2 * n + 1) for n in range(len(kept) - 1)]


def dis(kept):
    search = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    return [middle(search, a, b) for a, b in pairs(kept)]


def middle(search, left, right):
    h, w = left.shape
    places = np.dstack(np.meshgrid(np.arange(w, dtype=np.float32), np.arange(h, dtype=np.float32)))
    fetch = lambda picture, way: cv2.remap(picture, places + way, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    left, right = np.ascontiguousarray(left), np.ascontiguousarray(right)
    forward, backward = search.calc(left, right, None), search.calc(right, left, None)
    # how far there and back ends from where it began, pixels
    missed = [np.linalg.norm(there + fetch(back, there), axis=2) for there, back in ((forward, backward), (backward, forward))]
    half = (forward - backward) / 4
    ways = (-half, half)
    weights = [1 / (1 + fetch(m, way)) for m, way in zip(missed, ways)]
    sides = [fetch(side.astype(np.float32), way) for side, way in zip((left, right), ways)]
    made = (weights[0] * sides[0] + weights[1] * sides[1]) / (weights[0] + weights[1])
    return np.rint(made).astype(np.uint8)


def flow_fps(kept):
    return mvtools(kept, lambda mv, clip, *found: mv.FlowFPS(clip, *found, num=2 * RATE, den=1, **NO_CUTS))


def block_fps(kept):
    make = lambda mv, clip, *found: mv.BlockFPS(clip, *found, num=2 * RATE, den=1, mode=3, **NO_CUTS)
    return mvtools(kept, make, blksize=8, overlap=4)


def mvtools(kept, make, **search):
    def fill(n, f):
        out = f.copy()
        for plane, source in enumerate(kept.planes(min(n, len(kept) - 1))):
            np.asarray(out[plane])[:] = source
        return out

    core = vs.core
    # the last frame twice, so that its gap is no end
    shape = {"width": kept.width, "height": kept.height, "length": len(kept) + 1, "fpsnum": RATE, "fpsden": 1}
    empty = core.std.BlankClip(format=vs.YUV420P8, **shape)
    clip = core.std.ModifyFrame(empty, empty, fill)
    pyramid = core.mv.Super(clip)
    backward, forward = (core.mv.Analyse(pyramid, isb=isb, **search) for isb in (True, False))
    made = make(core.mv, clip, pyramid, backward, forward)
    return middles(kept, lambda n: np.array(made.get_frame(n)[0]))


METHODS = {"repeat": repeat, "blend": blend, "minterpolate": minterpolate, "DIS": dis}
if vs and hasattr(vs.core, "mv"):
    METHODS |= {"FlowFPS": flow_fps, "BlockFPS": block_fps}


# Scores


def measure(frames):
    """PSNR, SSIM and worst PSNR of each method."""
    kept, scores = frames.kept(), {}
    for name, method in METHODS.items():
        compared = [(made, frames.luma(2 * n + 1)) for n, made in enumerate(method(kept))]
        each = [psnr(*both) for both in compared]
        scores[name] = np.mean(each), np.mean([ssim(*both) for both in compared]), worst(each)
    return scores


def merged(clips, ours):
    """Puts the model's scores to those of the clips; returns how far the others' PSNR is from evaluate's at most, dB."""
    far = 0.0
    for report in ours["clips"]:
        mine = clips[report["clip"]]
        mine[ours["weights"]] = report["model"]["psnr"], report["model"]["ssim"], report["model"]["worst_psnr"]
        known = [name for name in mine if report.get(name, {}).get("psnr") is not None]
        far = max([far, *(abs(mine[name][0] - report[name]["psnr"]) for name in known)])
    return far


def row(label, cells):
    print(f"| {label} | " + " | ".join(cells) + " |", flush=True)


def table(clips, model):
    names = list(next(iter(clips.values())))
    row("clip", [*names, "best"])
    print("|---" * (len(names) + 2) + "|")
    for clip, scores in clips.items():
        row(clip, [f"{scores[n][0]:.2f}" for n in names] + [max(names, key=lambda n: scores[n][0])])
    for k, (label, digits) in enumerate((("mean", 2), ("SSIM-Y", 4), ("worst 5 %", 2))):
        row(label, [f"{np.mean([s[n][k] for s in clips.values()]):.{digits}f}" for n in names] + [""])
    if model:
        for name in (n for n in names if n != model):
            above = sum(s[model][0] > s[name][0] for s in clips.values())
            print(f"{model} above {name}: {above} of {len(clips)}")
        best = sum(max(s, key=lambda n: s[n][0]) == model for s in clips.values())
        print(f"{model} above all: {best} of {len(clips)}")


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("clips", type=pathlib.Path, nargs="+")
    p.add_argument("--evaluate", type=pathlib.Path, help="what `evaluate --json` said of the same clips")
    args = p.parse_args()
    cv2.setNumThreads(1)
    clips = {path.stem: measure(read(path)) for path in videos(args.clips)}
    ours = json.loads(args.evaluate.read_text()) if args.evaluate else None
    far = merged(clips, ours) if ours else 0
    table(clips, ours and ours["weights"])
    if ours:
        print(f"from what evaluate says of the same methods: {far:.4f} dB at most")


if __name__ == "__main__":
    main()
