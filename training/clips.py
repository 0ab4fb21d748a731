"""Real video and photographs as YUV planes on disk, and random crops of them.

`python clips.py CLIPS OUT` unpacks a folder of videos (and stills), once; with an empty CLIPS
it leaves an index of nothing, and training is on procedural textures alone. CLIPS may hold
`MANIFEST.tsv` / `STILLS_MANIFEST.tsv` with a column `use`: only rows marked `ship` are taken.
Without manifests every file is taken. Each video becomes one file of planar 4:2:0 frames, so
that a crop is a memory-mapped read; some get a second one that went through an encoder at a
low bit rate. A long video is taken in pieces.
"""

import csv
import json
import pathlib
import subprocess
import sys
from dataclasses import dataclass

import cv2
import numpy as np

VIDEO = {".mp4", ".mkv", ".webm", ".mov", ".avi", ".y4m"}
STILL = {".jpg", ".jpeg", ".png", ".webp"}

# Bytes on disk of all videos together and of one; a longer one is taken in pieces of this many frames.
ALL_BYTES, VIDEO_BYTES, PIECE = 12e9, 2e9, 60
# The longer side of what is larger is scaled down to this.
LONGEST = 1280

# A frame begins a shot if its thumbnail differs from the one before by this much (mean, code
# values) and by this many times what is usual around it.
CUT_DIFFERENCE, CUT_RATIO = 14.0, 3.5
THUMBNAIL = (32, 18)

# Share of the videos that have a compressed version, and of their triplets that use it.
COMPRESSED, FROM_COMPRESSED = 0.4, 0.5
CODECS = ("libx264", "libx265")
# Constant rate factor: low bit rates, from just visible to bad.
QUALITY = range(28, 42)

# Frames between neighbours of a triplet, at most, and in all from its first to its last.
LONGEST_STRIDE, LONGEST_SPAN = 8, 16
# Pairs whose mean luma difference is below this (code values) teach little; this share is kept.
STATIC, STATIC_KEPT = 0.7, 0.05


# Unpacking


def listed(folder, manifest, endings):
    """(path, manifest's row) of a folder's files that may train weights that ship."""
    path = folder / manifest
    if path.exists():
        with open(path) as f:
            rows = list(csv.DictReader(f, delimiter="\t"))
        return [(folder / r["file"], r) for r in rows if r.get("use", "ship") == "ship"]
    return [(p, {}) for p in sorted(folder.rglob("*")) if p.suffix.lower() in endings]


def ffmpeg(*arguments):
    subprocess.run(["ffmpeg", "-v", "error", "-nostdin", "-y", *map(str, arguments)], check=True)


def probe(path):
    """Width and height to unpack to (even), and seconds, 0 where they are not known."""
    out = subprocess.run(
        ["ffprobe", "-v", "error", "-select_streams", "v:0", "-show_entries", "stream=width,height:format=duration", "-of", "json", path],
        check=True, capture_output=True, text=True,
    ).stdout
    found = json.loads(out)
    stream = found["streams"][0]
    scale = min(1.0, LONGEST / max(stream["width"], stream["height"]))
    w, h = (int(stream[k] * scale) & ~1 for k in ("width", "height"))
    return w, h, float(found["format"].get("duration", 0))


def unpack_video(path, out, budget):
    """Frames of a video as planar 4:2:0 bytes, at most budget bytes; returns width, height, starts of pieces."""
    w, h, seconds = probe(path)
    size = w * h * 3 // 2
    most = max(3, int(budget) // size)
    # cut to even sides where only the parity is wrong, scaled down where it is too large
    fit = f"crop=trunc(iw/2)*2:trunc(ih/2)*2:0:0,scale={w}:{h}"
    # every frame once: a stream of uneven rate would have some repeated
    form = ["-an", "-vsync", "passthrough", "-vf", fit, "-pix_fmt", "yuv420p", "-f", "rawvideo"]
    ffmpeg("-noautorotate", "-i", path, *form, "-frames:v", most + 1, out)
    if out.stat().st_size // size <= most or seconds == 0:
        return w, h, []
    pieces = max(1, most // PIECE)
    part, starts = out.with_suffix(".part"), []
    with open(out, "wb") as all_pieces:
        for k in range(pieces):
            ffmpeg("-noautorotate", "-ss", seconds * k / pieces, "-i", path, *form, "-frames:v", min(PIECE, most), part)
            starts.append(all_pieces.tell() // size)
            all_pieces.write(part.read_bytes())
    part.unlink()
    return w, h, starts[1:]


def cuts_of(frames, w, h):
    """Indices of frames that begin a shot. frames: [n, bytes] planar 4:2:0."""
    small = [cv2.resize(f[: w * h].reshape(h, w), THUMBNAIL, interpolation=cv2.INTER_AREA) for f in frames]
    change = np.abs(np.diff(np.float32(small), axis=0)).mean((1, 2))
    cuts = []
    for i, c in enumerate(change):
        around = np.delete(change[max(0, i - 4) : i + 5], min(i, 4))
        if c > CUT_DIFFERENCE and (len(around) == 0 or c > CUT_RATIO * np.median(around)):
            cuts.append(i + 1)
    return cuts


def compress(source, w, h, codec, quality):
    """The file's frames after an encoder, as a file beside it; None if the encoder is not there."""
    coded, out = source.with_suffix(".mkv"), source.with_suffix(".low.yuv")
    quiet = ["-x265-params", "log-level=error"] if codec == "libx265" else []
    try:
        ffmpeg("-f", "rawvideo", "-pix_fmt", "yuv420p", "-s", f"{w}x{h}", "-r", 30, "-i", source,
               "-c:v", codec, "-preset", "veryfast", "-crf", quality, *quiet, coded)
        ffmpeg("-i", coded, "-vsync", "passthrough", "-f", "rawvideo", "-pix_fmt", "yuv420p", out)
    except subprocess.CalledProcessError:
        return None
    finally:
        coded.unlink(missing_ok=True)
    if out.stat().st_size != source.stat().st_size:
        out.unlink()
        return None
    return out


def mapped(path, w, h):
    return np.memmap(path, np.uint8, "r").reshape(-1, w * h * 3 // 2)


def unpack_videos(files, out):
    """Rows of the index."""
    videos = []
    for i, (path, row) in enumerate(files):
        target = out / f"{i:04d}.yuv"
        try:
            w, h, cuts = unpack_video(path, target, min(VIDEO_BYTES, ALL_BYTES / len(files)))
            frames = mapped(target, w, h)
        except (subprocess.CalledProcessError, LookupError, ValueError):
            print(f"skipped, not a video: {path}", file=sys.stderr)
            continue
        known = [int(row["cut_index"])] if row.get("cut_index") else cuts_of(frames, w, h)
        entry = {"file": target.name, "source": path.name, "width": w, "height": h, "frames": len(frames)}
        entry["cuts"] = sorted({*cuts, *known})
        if int(i * COMPRESSED) != int((i + 1) * COMPRESSED):
            low = compress(target, w, h, CODECS[len(videos) % 2], QUALITY[i * 5 % len(QUALITY)])
            if low:
                entry["compressed"] = low.name
        videos.append(entry)
    return videos


def unpack_stills(files, out):
    stills = []
    for i, (path, _) in enumerate(files):
        image = cv2.imread(str(path), cv2.IMREAD_COLOR)
        if image is None:
            print(f"skipped, not a picture: {path}", file=sys.stderr)
            continue
        np.save(out / f"still{i:04d}.npy", cv2.cvtColor(image, cv2.COLOR_BGR2YCrCb)[..., [0, 2, 1]])
        stills.append(f"still{i:04d}.npy")
    return stills


def unpack(clips, out):
    """Unpacks the folder `clips` (None: nothing) unless that has been done."""
    videos = listed(clips, "MANIFEST.tsv", VIDEO) if clips else []
    stills = listed(clips, "STILLS_MANIFEST.tsv", STILL) if clips else []
    files = [[path.name, path.stat().st_size] for path, _ in videos + stills]
    out.mkdir(parents=True, exist_ok=True)
    index = out / "index.json"
    if index.exists() and json.loads(index.read_text()).get("files") == files:
        print(f"{out} has these {len(files)} files already")
        return
    # the index comes last: without it a folder is not finished
    for old in [index, *out.glob("[0-9]*.yuv"), *out.glob("still*.npy")]:
        old.unlink(missing_ok=True)
    found = {"files": files, "videos": unpack_videos(videos, out), "stills": unpack_stills(stills, out)}
    index.write_text(json.dumps(found))


# Reading


@dataclass
class Video:
    """frames: [n, bytes], planar 4:2:0; compressed: the same after an encoder, or None; shots: [start, end)."""

    name: str
    width: int
    height: int
    frames: np.ndarray
    compressed: np.ndarray
    shots: list

    def planes(self, frame, x, y, size, compressed=False):
        """Crop of one frame: y [S, S], u and v [S/2, S/2]; x, y and size even.

        A picture smaller than that is continued as in a mirror.
        """
        w, h = self.width, self.height
        f = (self.compressed if compressed else self.frames)[frame]
        n = w * h // 4
        luma, *chroma = f[: w * h], f[w * h : w * h + n], f[w * h + n : w * h + 2 * n]
        out = [window(luma.reshape(h, w), x, y, size)]
        return out + [window(c.reshape(h // 2, w // 2), x // 2, y // 2, size // 2) for c in chroma]


def window(plane, x, y, size):
    part = plane[y : y + size, x : x + size]
    h, w = part.shape
    if h < size or w < size:
        part = cv2.copyMakeBorder(part, 0, size - h, 0, size - w, cv2.BORDER_REFLECT)
    return part


def read_video(folder, v):
    w, h, n = v["width"], v["height"], v["frames"]
    edges = [0, *v.get("cuts", []), n]
    low = v.get("compressed")
    return Video(
        v["source"], w, h, mapped(folder / v["file"], w, h), mapped(folder / low, w, h) if low else None,
        list(zip(edges, edges[1:])),
    )


class Clips:
    """The unpacked videos; every `holdout`-th source is kept back for a second opinion."""

    def __init__(self, folder, holdout=5, held_out=False):
        folder = pathlib.Path(folder)
        index = json.loads((folder / "index.json").read_text())
        source = lambda v: v["source"].rsplit("_s", 1)[0]
        sources = sorted({source(v) for v in index["videos"]})
        kept_back = set(sources[holdout - 1 :: holdout]) if holdout else set()
        self.videos = [read_video(folder, v) for v in index["videos"] if (source(v) in kept_back) == held_out]
        self.stills = [np.load(folder / s, mmap_mode="r") for s in index["stills"]]

    def weights(self, span):
        """Chance of each video to give a triplet of this span; all 0 if none can."""
        usable = np.array([sum(max(0, e - s - span) for s, e in v.shots) for v in self.videos])
        weights = np.minimum(usable, 120) ** 0.5
        return weights / max(weights.sum(), 1e-9)

    def triplet(self, rng, size, a, b):
        """Three crops of a shot at phases 0, a/b, 1, each y, u, v; seldom without motion. A fourth, at phase -1, if the shot
        has it.

        The sources may be compressed, the truth never is. None if no shot has b + 1 frames.
        """
        weights = self.weights(b)
        if not weights.any():
            return None
        for _ in range(20):
            video = self.videos[rng.choice(len(weights), p=weights)]
            at = cadence(rng, video.shots, a, b)
            x, y = (2 * int(rng.integers(0, max(0, n - size) // 2 + 1)) for n in (video.width, video.height))
            low = video.compressed is not None and rng.random() < FROM_COMPRESSED
            out = [video.planes(k, x, y, size, low and k != at[1]) for k in at]
            difference = cv2.norm(out[0][0], out[2][0], cv2.NORM_L1) / size**2
            if difference > STATIC or rng.random() < STATIC_KEPT:
                break
        return out

    def texture(self, rng, size):
        """A [size, size, 3] u8 YUV picture from a still or a frame, at a random scale."""
        video, still = None, None
        if self.stills and (rng.random() < 0.6 or not self.videos):
            still = self.stills[rng.integers(len(self.stills))]
            h, w = still.shape[:2]
        else:
            video = self.videos[rng.integers(len(self.videos))]
            h, w = video.height, video.width
        take = int(min(h, w, size * rng.uniform(0.7, 1.8))) & ~1
        x, y = (2 * int(rng.integers(0, (n - take) // 2 + 1)) for n in (w, h))
        if video is None:
            return cv2.resize(np.ascontiguousarray(still[y : y + take, x : x + take]), (size, size))
        planes = video.planes(rng.integers(len(video.frames)), x, y, take)
        return cv2.merge([cv2.resize(p, (size, size)) for p in planes])


def cadence(rng, shots, a, b):
    """Three frames of one shot, the middle one a/b of the way: mostly neighbours, else strides up to 8; then the one
    as far before the first as the last is after it, if the shot has it."""
    room = np.array([max(0, end - start - b) for start, end in shots])
    start, end = shots[rng.choice(len(shots), p=room / room.sum())]
    stride = int(2 ** max(0, rng.uniform(-2, np.log2(LONGEST_STRIDE + 1))))
    stride = max(1, min(stride, LONGEST_SPAN // b, (end - start - 1) // b))
    first = int(rng.integers(min(start + b * stride, end - b * stride - 1), end - b * stride))
    at = [first + k * stride for k in (0, a, b)]
    return at + [first - b * stride] * (first - b * stride >= start)


# Writing


def write(path, frames):
    """Frames of u8 planes Y, U, V as 4:2:0 in a YUV4MPEG2 file."""
    h, w = frames[0][0].shape
    with open(path, "wb") as f:
        f.write(f"YUV4MPEG2 W{w} H{h} F24:1 Ip A1:1 C420jpeg\n".encode())
        for frame in frames:
            f.write(b"FRAME\n")
            for plane in frame:
                f.write(np.ascontiguousarray(plane).tobytes())


if __name__ == "__main__":
    clips, out = sys.argv[1:]
    unpack(pathlib.Path(clips) if clips else None, pathlib.Path(out))
