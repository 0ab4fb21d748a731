"""Trains the velocity field of motion=trajectory; the same seed gives the same weights.

    python training/trajectory.py --data DATA --network models/balanced.safetensors --out models/trajectory.safetensors

DATA is what `clips.py` unpacked. Four kept frames of a shot are at -1, 0, 1, 2, and one between 0 and 1 is withheld. The
embedded network says, as it does with even motion, where its pixels lie at 0 and 1; the field bends that, and learns from how
far the luma fetched there is from the frame withheld. `src/trajectory` is the twin, with the same names.
"""

import argparse
import pathlib
import time

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch import nn

import search
from clips import Clips
from model import CHANGE, VARIANTS, Network, acceleration, chosen, double, lrelu, moved, warp, weight_of_left
from validate import load

# What the network is told of a cell that stays, and of the state; its hidden values; latent values of the state.
CLUES, STATE, HIDDEN, LATENT = 10, 2 + 2, 16, 2
# Added to a speed, in cells, that others are compared with.
REST = 0.5
# Cells of the crops, each way; crops of a large picture.
CROP, CROPS = 48, 2
# Kept frames are so far apart, and so far behind the left one is the one withheld.
PHASES = [(2, 1), (2, 1), (2, 1), (4, 1), (4, 2), (4, 2), (4, 3), (8, 2), (8, 4), (8, 7)]
# Share of rows that know nothing of the frame before, or of the one after.
FIRST, LAST = 0.12, 0.12
# Pairs whose mean luma differs by less (codes) teach nothing.
STATIC = 0.7
# What a pixel that drawn ways are missed by counts, in dB of the clips.
DRAWN = 0.5
# Steps of the solver from a frame to the phase; it goes by tolerance in the plugin.
SOLVER_STEPS = 1


def length(x):
    return torch.sqrt((x * x).sum(-1, keepdim=True) + 1e-6)


def squash(x):
    return x / (1 + x)


class Field(nn.Module):
    """dz/dt = f(z, t; context) for z = (place, velocity, latent values), in cells and intervals.

    The velocity changes by the accelerations at both frames, each weighing as near as its frame is, times what the network
    gives of them, 0 to 2; 1 is the cubic through four places.
    """

    def __init__(self):
        super().__init__()
        self.entry = nn.Linear(CLUES + STATE, HIDDEN)
        self.head = nn.Linear(HIDDEN, 2 + LATENT)
        with torch.no_grad():
            self.head.weight *= 0.1
            self.head.bias.zero_()

    def gains(self, context, z, t):
        """[N, 2] gains of both accelerations and [N, LATENT] change of the latent values."""
        speed = squash(length(z[:, 2:4]))
        x = torch.cat((context.clues, speed, torch.full_like(speed, t), z[:, 4:]), 1)
        o = self.head(F.softsign(self.entry(x)))
        return 1 + F.softsign(o[:, :2]), o[:, 2:]

    def forward(self, context, z, t):
        gains, latent = self.gains(context, z, t)
        before, after = context.accelerations
        return torch.cat((z[:, 2:4], (1 - t) * gains[:, :1] * before + t * gains[:, 1:] * after, latent), 1)

    def start(self, context, t):
        """The state at a frame, 0 or 1: at its place, as fast as the cubic with the gains there."""
        before, after = context.accelerations
        place = t * context.motion
        rest = torch.cat((place, context.motion, torch.zeros_like(context.motion)), 1)
        gains, _ = self.gains(context, rest, t)
        before, after = gains[:, :1] * before / 6, gains[:, 1:] * after / 6
        turn = -2 * before - after if t == 0 else before + 2 * after
        return torch.cat((place, context.motion + turn, rest[:, 4:]), 1)

    def carry(self, context, start, end):
        """From a frame, 0 or 1, to a phase: classical Runge-Kutta steps; the place there."""
        z, t, h = self.start(context, start), start, (end - start) / SOLVER_STEPS
        for _ in range(SOLVER_STEPS):
            k1 = self(context, z, t)
            k2 = self(context, z + h / 2 * k1, t + h / 2)
            k3 = self(context, z + h / 2 * k2, t + h / 2)
            k4 = self(context, z + h * k3, t + h)
            z, t = z + h / 6 * (k1 + 2 * k2 + 2 * k3 + k4), t + h
        return z[:, :2]

    def bend(self, context, t):
        """[N, 2]: how far the trajectory is from the even motion at t; nothing at 0 and 1."""
        return (1 - t) * self.carry(context, 0.0, t) + t * self.carry(context, 1.0, t) - t * context.motion


class Context:
    """What does not change along a cell's trajectory, [N, ...] in cells.

    flow [N, 4], cues [N, CUES], gate [N, 1] of the network; accelerations at the left and the right frame [N, 2]; known: whether
    they are (two bools).
    """

    def __init__(self, flow, cues, gate, accelerations, known):
        before, after = accelerations
        if not known[0]:
            before = after
        if not known[1]:
            after = before
        self.motion, self.accelerations = flow[:, 2:] - flow[:, :2], (before, after)
        scale = length(self.motion) + REST
        a, b = length(before), length(after)
        flags = [torch.full_like(a, float(k)) for k in known]
        along = (before * after).sum(1, keepdim=True) / (a * b)
        least = cues[:, :3].min(1, keepdim=True)[0]
        self.clues = torch.cat(
            (squash(a / scale), squash(b / scale), along, squash(length(after - before) / scale), cues[:, 3:5], least, gate * flags[0], *flags), 1
        )


def planes(frame):
    return (frame[0, 0].numpy() * 255).round().astype(np.uint8)


@torch.no_grad()
def rows(net, searcher, video, at, t, rng):
    """Crops of four frames at `at` and the one withheld: pictures [3, H, W] u8, and what the network says of them with even motion."""
    frames = [load(video, k, "cpu") for k in at]
    codes = [planes(y) for y, _ in frames]
    (before, left, truth, right, after), tensor = codes, lambda x: torch.from_numpy(x)[None]
    known = np.ones((1, left.shape[0] // search.CELL, left.shape[1] // search.CELL), np.float32)
    one_way = lambda a, b: tensor(np.concatenate((search.motion(searcher, a, b), known)))
    found, past, future = tensor(search.found(searcher, left, right)), one_way(left, before), one_way(right, after)
    (_, one), (_, other) = net.encode(frames[1][1]), net.encode(frames[3][1])
    flow, cues = chosen(one[1], other[1], found, past, t)
    d = net.decoder
    seen, (features, luma, contrast) = d.match(one, other, flow, t)
    mask, phase = torch.zeros_like(contrast), torch.full_like(contrast, t)
    r = lrelu(d.entry(torch.cat((lrelu(d.squeeze(torch.cat(seen, 1))), cues, flow, features, mask, phase, luma, contrast), 1)))
    o = d.head(lrelu(r + d.res2(lrelu(d.res1(r)))))
    # the time after, seen from the other side: the same formula
    turned = torch.cat((flow[:, 2:], flow[:, :2]), 1)
    values = torch.cat((flow, cues, torch.sigmoid(o[:, CHANGE:]), acceleration(future, turned), moved(flow, o, features, luma, t), o[:, 4:5]), 1)
    pictures = np.stack((left, truth, right))
    height, width = (min(CROP, n) for n in values.shape[2:])
    out = []
    for _ in range(CROPS if values[0, 0].numel() > 2 * CROP**2 else 1):
        y, x = (int(rng.integers(0, n - m + 1)) for n, m in zip(values.shape[2:], (height, width)))
        crop = lambda p, c: p[..., c * y : c * (y + height), c * x : c * (x + width)]
        out.append((t, crop(pictures, search.CELL).copy(), crop(values[0], 1).half().clone()))
    return out


def collect(net, clips, rounds, rng):
    """Rows of every clip, `rounds` times another place and phase."""
    searcher, out = search.searcher(net.config.finest), []
    for _ in range(rounds):
        for video in clips.videos:
            step, ahead = PHASES[rng.integers(len(PHASES))]
            shots = [(s, e) for s, e in video.shots if e - s > 3 * step]
            if not shots:
                step, ahead = 2, 1
                shots = [(s, e) for s, e in video.shots if e - s > 3 * step]
            if not shots:
                continue
            start, end = shots[rng.integers(len(shots))]
            first = int(rng.integers(start, end - 3 * step))
            left = first + step
            if cv2.norm(planes(load(video, left, "cpu")[0]), planes(load(video, left + step, "cpu")[0]), cv2.NORM_L1) > STATIC * video.width * video.height:
                out += rows(net, searcher, video, (first, left, left + ahead, left + step, left + 2 * step), ahead / step, rng)
    return out


def error(field, row, known=(True, True), bends=None):
    """Mean square error of the luma made along the trajectories, of a range of 1."""
    t, pictures, values = row
    left, truth, right = (torch.from_numpy(p).float()[None, None] / 255 for p in pictures)
    values = values.float()
    h, w = values.shape[1:]
    flow, cues, gate, after, even, mask = values.flatten(1).T.split((4, 8, 1, 2, 4, 1), 1)
    context = Context(flow, cues, gate, (cues[:, 5:7], after), known)
    bend = field.bend(context, t) if bends is None else bends(context, t)
    # what is ahead of the even motion was left further behind
    bent = (even - torch.cat((bend, bend), 1)).T.view(1, 4, h, w)
    f = search.CELL * F.interpolate(bent, scale_factor=search.CELL, mode="bilinear", align_corners=False)
    m = F.interpolate(weight_of_left(mask.T.view(1, 1, h, w), t), scale_factor=search.CELL, mode="bilinear", align_corners=False)
    made = m * warp(left, f[:, :2]) + (1 - m) * warp(right, f[:, 2:])
    return ((made - truth) ** 2).mean()


def drawn(field, rng, number=256):
    """Mean distance, in pixels, from ways that are known: thrown, turning and swinging things, well seen."""
    speed, turn, phase = (torch.from_numpy(rng.uniform(a, b, (number, 1))).float() for a, b in ((0.3, 4), (0.15, 0.7), (0, 2 * np.pi)))
    kind, t = rng.integers(3), float(rng.choice([0.125, 0.25, 0.5, 0.75, 0.875]))
    way = (
        lambda at: torch.cat((speed * at, speed * turn * at * at / 2 + torch.cos(phase) * at), 1),
        lambda at: speed / turn * torch.cat((torch.sin(turn * at + phase), torch.cos(turn * at + phase)), 1),
        lambda at: speed / turn * torch.sin(turn * at + phase / 6) * torch.cat((torch.cos(phase), torch.sin(phase)), 1),
    )[kind]
    before, left, right, after = (way(at) for at in (-1.0, 0.0, 1.0, 2.0))
    motion = right - left
    turned = (right - 2 * left + before, after - 2 * right + left)
    clues = torch.from_numpy(rng.uniform(0, 0.25, (number, 6))).float()
    cues = torch.cat((clues[:, :3], clues[:, 3:5], torch.zeros(number, 2), torch.ones(number, 1)), 1)
    gate = torch.from_numpy(rng.uniform(0, 1, (number, 1))).float()
    context = Context(torch.cat((0 * motion, motion), 1), cues, gate, turned, (True, True))
    truth = way(t) - left - t * motion
    # what the plugin limits is not asked for
    seen = torch.cat([length(a) for a in turned], 1).amax(1, keepdim=True) < 0.5 * length(motion) + 0.25
    return search.CELL * (length(field.bend(context, t) - truth) * seen).sum() / seen.sum().clamp(min=1)


def decibels(mse):
    return -10 * torch.log10(mse + 1e-6)


# The closed forms: even motion, as the network bends it by the frame before alone, and the cubic through four places.
CLOSED = {
    "even": lambda c, t: 0 * c.motion,
    "before": lambda c, t: c.clues[:, 7:8] * c.accelerations[0] * (t * (t - 1) / 2),
    "cubic": lambda c, t: ((2 - t) * c.accelerations[0] + (1 + t) * c.accelerations[1]) * (t * (t - 1) / 6),
}


@torch.no_grad()
def table(field, held_out):
    scores = {name: np.mean([decibels(error(field, row, bends=f)).item() for row in held_out]) for name, f in CLOSED.items()}
    scores["field"] = np.mean([decibels(error(field, row)).item() for row in held_out])
    off = np.mean([drawn(field, np.random.default_rng(seed)).item() for seed in range(20)])
    return "  ".join(f"{name} {score:.3f} dB" for name, score in scores.items()) + f"; drawn ways missed by {off:.3f} px"


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--data", required=True)
    p.add_argument("--network", required=True, type=pathlib.Path, help="weights of quality=balanced")
    p.add_argument("--out", required=True, type=pathlib.Path)
    p.add_argument("--rounds", type=int, default=5, help="times that each clip is looked at")
    p.add_argument("--steps", type=int, default=800)
    p.add_argument("--batch", type=int, default=4)
    p.add_argument("--rate", type=float, default=4e-3)
    p.add_argument("--seed", type=int, default=1)
    args = p.parse_args()
    torch.manual_seed(args.seed)
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    rng = np.random.default_rng(args.seed)
    net = Network(VARIANTS["balanced"])
    weights = {k: v.float() for k, v in load_file(args.network).items() if not k.startswith("search.")}
    net.load_state_dict(weights)
    began = time.time()
    learn, keep = (collect(net, Clips(args.data, held_out=h), args.rounds, rng) for h in (False, True))
    print(f"{len(learn)} rows to learn from, {len(keep)} kept back, {time.time() - began:.0f} s", flush=True)
    field = Field()
    optimiser = torch.optim.Adam(field.parameters(), args.rate)
    for step in range(args.steps):
        loss = DRAWN * drawn(field, rng)
        for _ in range(args.batch):
            row, u = learn[rng.integers(len(learn))], rng.random()
            loss = loss - decibels(error(field, row, (u >= FIRST, u < 1 - LAST))) / args.batch
        for group in optimiser.param_groups:
            group["lr"] = args.rate * (0.02 + 0.98 * 0.5 * (1 + np.cos(np.pi * step / args.steps)))
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(field.parameters(), 1.0)
        optimiser.step()
        if (step + 1) % 200 == 0 or step == 0:
            print(f"step {step + 1}, {time.time() - began:.0f} s: {table(field, keep)}", flush=True)
            save_file({k: v.half().contiguous() for k, v in field.state_dict().items()}, args.out)


if __name__ == "__main__":
    main()
