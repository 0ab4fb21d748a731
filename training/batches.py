"""Batches for training: synthetic rows with their flow first, then real ones."""

import pathlib
import tempfile

import cv2
import numpy as np
import torch
from torch.utils.data import Dataset

import clips
import layers
import search

# Outputs at these phases (a of b steps); one half half of the time, as in use.
PHASES = [(1, 2)] * 4 + [(1, 4), (3, 4), (1, 3), (2, 3), (1, 5), (3, 5), (1, 8), (5, 8)]

# Shares of synthetic rows whose light changes, and whose sources are noisy or compressed.
LIGHT, NOISY, COMPRESSED = 0.15, 0.3, 0.25
# Of the compressed ones: those that a video encoder compresses, the others are JPEG.
CODED = 0.3
# Share of the rows whose left frame counts as a shot's first.
FIRST = 0.12
# JPEG qualities, 0..100, of compressed sources.
QUALITY = (12, 60)
# Of the real rows of a batch with distance maps: those that have one.
TOLD = 0.5
# A distance map stays this far from 0 and 1: the weight of a side is a quotient of both.
NEAREST = 1 / 1024


class Batches(Dataset):
    """Batch of a step, made from (seed, step) alone.

    args: steps, batch, size, seed, synthetic, synthetic_end, maps; most_motion (see layers.MOST) if it is there.
    finest: see search.searcher.
    A batch of B rows, n of them synthetic (they come first), pictures in 0..1:
        t         phase, the same for all rows; or in a share `maps` of the batches [B, 1, S/8, S/8], distance maps: exact ones of
                  synthetic rows, whose motion is uneven then, of some real rows what `told` says, of the others the phase
        y         [B, 3, S, S]: left, truth at t, right; u, v: [B, 3, S/2, S/2]
        flow      [n, 4, S, S]: at t, px, to the left frame x, y, to the right one x, y
        visible   [n, 2, S, S]: 1 where what is seen at t is also seen in the left frame, the right one
        distance  [n, 1, S, S]: share of the way that is done at t, in 0..1
        found     [B, 4, S/8, S/8]: motion between left and right, see search.found
        past      [B, 3, S/8, S/8]: motion from left to the frame before it in cells x, y; 1 where that is known, else all 0, as
                  in all rows with a map: that tells what an acceleration would
        told      [B - n, 4, S/8, S/8]: motion of the real rows at t, see search.told
    """

    def __init__(self, clips, args, finest):
        self.clips, self.args, self.finest = clips, args, finest
        self.most = getattr(args, "most_motion", layers.MOST)
        # the longest phase's triplet has to fit into a shot
        self.real = clips.videos and clips.weights(max(b for _, b in PHASES)).any()
        self.texture = clips.texture if clips.stills or clips.videos else layers.procedural

    def __len__(self):
        return self.args.steps

    def synthetic_rows(self, step):
        a = self.args
        share = a.synthetic + (a.synthetic_end - a.synthetic) * step / a.steps
        return round(a.batch * share) if self.real else a.batch

    def __getitem__(self, step):
        # one core is all that the training leaves to its data
        cv2.setNumThreads(0)
        args, size = self.args, self.args.size
        rng = np.random.default_rng([args.seed, step])
        a, b = PHASES[rng.integers(len(PHASES))]
        n, mapped = self.synthetic_rows(step), rng.random() < args.maps
        scenes = [layers.scene(rng, self.texture, size, a / b, self.most, uneven=mapped) for _ in range(n)]
        rows = [degraded(rng, [*scene.frames, scene.before], a / b) for scene in scenes]
        rows += [augmented(rng, self.clips.triplet(rng, size, a, b)) for _ in range(args.batch - n)]
        planes = [self.tensor([[frame[c] for frame in row[:3]] for row in rows]) / 255 for c in range(3)]
        flow = self.tensor([s.flow for s in scenes], (0, 4, size, size))
        visible = self.tensor([s.visible for s in scenes], (0, 2, size, size))
        distance = self.tensor([s.distance[None] for s in scenes], (0, 1, size, size))
        searcher = search.searcher(self.finest)
        found = self.tensor([search.found(searcher, row[0][0], row[2][0]) for row in rows])
        past = self.tensor([past_of(rng, searcher, row) for row in rows])
        real = [[frame[0] for frame in row[:3]] for row in rows[n:]]
        told = self.tensor([search.told(searcher, *row) for row in real], (0, 4, size // 8, size // 8))
        t = self.maps(rng, a / b, distance, told, past) if mapped else a / b
        return t, *planes, flow, visible, distance, found, past, told

    def maps(self, rng, t, distance, told, past):
        """The distance maps of all rows; of those that have one the motion before is forgotten."""
        maps = [cells(row[0].numpy()) for row in distance]
        for k, motion in enumerate(told.numpy(), len(maps)):
            known = rng.random() < TOLD
            maps.append(layers.distance(search.CELL * motion, t) if known else np.full_like(motion[0], t))
            past[k] *= not known
        past[: len(distance)] = 0
        return self.tensor(maps).clamp(NEAREST, 1 - NEAREST)[:, None]

    @staticmethod
    def tensor(arrays, empty=None):
        return torch.from_numpy(np.array(arrays, np.float32)) if arrays else torch.zeros(empty)


def past_of(rng, searcher, row):
    """Motion from the left frame to the one before it and a plane of ones; zeros if that is not there, or must not be known."""
    if len(row) < 4 or rng.random() < FIRST:
        return np.zeros((3, *(n // search.CELL for n in row[0][0].shape)), np.float32)
    motion = search.motion(searcher, row[0][0], row[3][0])
    return np.concatenate((motion, np.ones_like(motion[:1])))


def cells(plane):
    """Means of CELL x CELL pixels of [H, W]."""
    h, w = plane.shape
    return plane.reshape(h // search.CELL, search.CELL, w // search.CELL, search.CELL).mean((1, 3))


def split(frame):
    """[3, S, S] f32 in 0..255 -> u8 planes of 4:2:0."""
    y, u, v = np.rint(np.clip(frame, 0, 255)).astype(np.uint8)
    half = lambda p: cv2.resize(p, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
    return y, half(u), half(v)


def degraded(rng, frames, t):
    """Frames [3, S, S] at phases 0, t, 1, -1 as planes of 4:2:0: other light in all of some, noise and what a codec leaves in the sources.

    The truth keeps the light of its own time and has neither: no one can tell the
    noise of a frame that is not there.
    """
    if rng.random() < LIGHT:
        relit(rng, frames, t)
    if rng.random() < NOISY:
        strength = np.float32(rng.uniform(0.5, 5))
        for frame in (*frames[:1], *frames[2:]):
            for plane in frame:
                plane += layers.noise_crop(rng, plane.shape[0]) * strength
    planes = [split(f) for f in frames]
    if rng.random() < COMPRESSED:
        # in the order of time
        sources = [*range(3, len(planes)), 0, 2]
        low = encoded(rng, [planes[k] for k in sources]) if rng.random() < CODED else None
        if low is None:
            quality = int(rng.integers(*QUALITY))
            low = [tuple(compressed(p, quality) for p in planes[k]) for k in sources]
        for k, frame in zip(sources, low):
            planes[k] = frame
    return planes


def relit(rng, frames, t):
    """Changes the light evenly over the interval, mostly a little, sometimes as in a fade from or to black."""
    most = 0.5 if rng.random() < 0.25 else 0.06
    gain = np.float32(1 + rng.uniform(-most, 0, 2))
    black = np.float32([16, 128, 128])[:, None, None]
    for frame, s in zip(frames, (0, t, 1, -1)):
        frame -= black
        frame *= np.float32(gain[0] + (gain[1] - gain[0]) * s)
        frame += black


def compressed(plane, quality):
    """A plane after a round trip through JPEG."""
    return cv2.imdecode(cv2.imencode(".jpg", plane, [cv2.IMWRITE_JPEG_QUALITY, quality])[1], cv2.IMREAD_GRAYSCALE)


def encoded(rng, frames):
    """Frames of planes Y, U, V after x264 or x265 at a low bit rate; None if there is no encoder."""
    h, w = frames[0][0].shape
    with tempfile.TemporaryDirectory() as folder:
        source = pathlib.Path(folder) / "frames.yuv"
        source.write_bytes(b"".join(np.ascontiguousarray(p).tobytes() for frame in frames for p in frame))
        codec = clips.CODECS[rng.integers(len(clips.CODECS))]
        low = clips.compress(source, w, h, codec, int(rng.choice(clips.QUALITY)))
        if low is None:
            return None
        data = np.fromfile(low, np.uint8).reshape(len(frames), -1)
    n = w * h
    cut = lambda f: (f[:n].reshape(h, w), *(c.reshape(h // 2, w // 2) for c in (f[n : n * 5 // 4], f[n * 5 // 4 :])))
    return [cut(f) for f in data]


def augmented(rng, planes):
    """Turned and mirrored."""
    k, flip = rng.integers(4), rng.random() < 0.5
    turn = lambda p: np.rot90(p[:, ::-1] if flip else p, k)
    return [tuple(turn(p) for p in frame) for frame in planes]
