"""Real video and photographs as YUV planes on disk, and random crops of them.

`python clips.py CLIPS OUT` unpacks a folder of videos (and stills), once. CLIPS may hold
`MANIFEST.tsv` / `STILLS_MANIFEST.tsv` with a column `use`: only rows marked `ship` are taken.
Without manifests every file is taken. Each video becomes one file of planar 4:2:0 frames, so
that a crop is a memory-mapped read.
"""

import csv
import json
import pathlib
import subprocess
import sys

import cv2
import numpy as np

VIDEO = {".mp4", ".mkv", ".webm", ".mov", ".avi", ".y4m"}
STILL = {".jpg", ".jpeg", ".png", ".webp"}
# Pairs whose mean luma difference is below this (in code values) teach nothing.
STATIC = 0.7


def listed(folder, manifest, endings):
    """Paths of a folder's files that may train weights that ship."""
    path = folder / manifest
    if path.exists():
        with open(path) as f:
            rows = list(csv.DictReader(f, delimiter="\t"))
        return [folder / r["file"] for r in rows if r.get("use", "ship") == "ship"]
    return sorted(p for p in folder.rglob("*") if p.suffix.lower() in endings)


def size_of(path):
    out = subprocess.run(
        ["ffprobe", "-v", "error", "-select_streams", "v:0", "-show_entries", "stream=width,height", "-of", "csv=p=0", path],
        check=True, capture_output=True, text=True,
    ).stdout.strip()
    w, h = out.split(",")[:2]
    return int(w) & ~1, int(h) & ~1


def unpack_video(path, out, limit=None):
    """All frames of a video as planar 4:2:0 bytes; returns (width, height, frames)."""
    w, h = size_of(path)
    command = ["ffmpeg", "-v", "error", "-y", "-i", path, "-vf", f"crop={w}:{h}:0:0", "-pix_fmt", "yuv420p", "-f", "rawvideo"]
    if limit:
        command += ["-frames:v", str(limit)]
    subprocess.run([*command, out], check=True)
    return w, h, out.stat().st_size // (w * h * 3 // 2)


def unpack(clips, out):
    out.mkdir(parents=True, exist_ok=True)
    videos = []
    for i, path in enumerate(listed(clips, "MANIFEST.tsv", VIDEO)):
        name = f"{i:04d}.yuv"
        w, h, n = unpack_video(path, out / name)
        videos.append({"file": name, "source": path.name, "width": w, "height": h, "frames": n})
    stills = []
    for i, path in enumerate(listed(clips, "STILLS_MANIFEST.tsv", STILL)):
        image = cv2.imread(str(path), cv2.IMREAD_COLOR)
        if image is None:
            print(f"skipped, not a picture: {path}", file=sys.stderr)
            continue
        np.save(out / f"still{i:04d}.npy", cv2.cvtColor(image, cv2.COLOR_BGR2YCrCb)[..., [0, 2, 1]])
        stills.append(f"still{i:04d}.npy")
    (out / "index.json").write_text(json.dumps({"videos": videos, "stills": stills}))


class Clips:
    """The unpacked videos; every `holdout`-th is kept back for a second opinion."""

    def __init__(self, folder, holdout=5, held_out=False):
        folder = pathlib.Path(folder)
        index = json.loads((folder / "index.json").read_text())
        self.videos = []
        sources = sorted({v["source"].rsplit("_s", 1)[0] for v in index["videos"]})
        kept_back = set(sources[holdout - 1 :: holdout]) if holdout else set()
        for v in index["videos"]:
            if (v["source"].rsplit("_s", 1)[0] in kept_back) == held_out:
                shape = (v["frames"], v["height"] * v["width"] * 3 // 2)
                data = np.memmap(folder / v["file"], np.uint8, "r", shape=shape)
                self.videos.append((data, v["width"], v["height"], v["source"]))
        self.stills = [np.load(folder / s, mmap_mode="r") for s in index["stills"]]
        self.weights = np.array([min(v[0].shape[0], 120) ** 0.5 for v in self.videos])
        self.weights /= self.weights.sum() if len(self.weights) else 1

    def planes(self, video, frame, x, y, size):
        """Crop of one frame: y [S, S], u and v [S/2, S/2]; x, y and size even."""
        data, w, h, _ = self.videos[video]
        f = data[frame]
        luma = f[: w * h].reshape(h, w)[y : y + size, x : x + size]
        n = w * h // 4
        u = f[w * h : w * h + n].reshape(h // 2, w // 2)
        v = f[w * h + n : w * h + 2 * n].reshape(h // 2, w // 2)
        s = np.s_[y // 2 : (y + size) // 2, x // 2 : (x + size) // 2]
        return luma, u[s], v[s]

    def triplet(self, rng, size, a, b):
        """Three crops at phases 0, a/b, 1, none of them a pair without motion."""
        for _ in range(20):
            i = rng.choice(len(self.videos), p=self.weights)
            data, w, h, _ = self.videos[i]
            n = data.shape[0]
            most = (n - 1) // b
            if most < 1 or w < size or h < size:
                continue
            # mostly neighbours, sometimes strides up to 8 source frames
            stride = min(most, max(1, int(2 ** rng.uniform(-0.5, 3.2) / b + 0.5)))
            start = rng.integers(0, n - b * stride)
            x = int(rng.integers(0, (w - size) // 2 + 1)) * 2
            y = int(rng.integers(0, (h - size) // 2 + 1)) * 2
            out = [self.planes(i, start + k * stride, x, y, size) for k in (0, a, b)]
            difference = np.abs(out[0][0].astype(np.int16) - out[2][0]).mean()
            if STATIC < difference < 60:
                return out
        return out

    def texture(self, rng, size):
        """A [size, size, 3] u8 YUV picture from a still or a frame, at a random scale."""
        if self.stills and (rng.random() < 0.6 or not self.videos):
            source = self.stills[rng.integers(len(self.stills))]
            h, w = source.shape[:2]
        else:
            i = rng.integers(len(self.videos))
            data, w, h, _ = self.videos[i]
            frame, source = rng.integers(data.shape[0]), None
        take = int(min(h, w, size * rng.uniform(0.7, 1.8))) & ~1
        x, y = (2 * rng.integers(0, (n - take) // 2 + 1) for n in (w, h))
        if source is not None:
            return cv2.resize(np.ascontiguousarray(source[y : y + take, x : x + take]), (size, size))
        return cv2.merge([cv2.resize(p, (size, size)) for p in self.planes(i, frame, x, y, take)])


if __name__ == "__main__":
    unpack(pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2]))
