"""Trains the embedded network; the same seed gives the same run.

    python train.py --data DATA --out RUN [--steps N] [--resume]

DATA is what `clips.py` unpacked. Each step's batch is made from (seed, step) alone, so a run
that was stopped goes on from its last checkpoint as if nothing had happened.
"""

import argparse
import copy
import json
import math
import pathlib
import time

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch.utils.data import DataLoader, Dataset

import layers
from clips import Clips
from model import Network, synthesise, view
from validate import validate

# Outputs at these phases (a of b steps); one half half of the time, as in use.
PHASES = [(1, 2)] * 4 + [(1, 4), (3, 4), (1, 3), (2, 3), (1, 5), (3, 5), (1, 8), (5, 8)]


class Batches(Dataset):
    """Batch of a step: the first rows synthetic with flow, the rest real."""

    def __init__(self, clips, args):
        self.clips, self.args = clips, args

    def __len__(self):
        return self.args.steps

    def synthetic_rows(self, step):
        a = self.args
        share = a.synthetic + (a.synthetic_end - a.synthetic) * step / a.steps
        return round(a.batch * share) if self.clips.videos else a.batch

    def __getitem__(self, step):
        args, size = self.args, self.args.size
        rng = np.random.default_rng([args.seed, step])
        a, b = PHASES[rng.integers(len(PHASES))]
        texture = self.clips.texture if self.clips.stills or self.clips.videos else layers.procedural
        ys, us, vs, flows = [], [], [], []
        for row in range(args.batch):
            if row < self.synthetic_rows(step):
                frames, flow = layers.scene(rng, texture, size, a / b)
                planes = [split(f) for f in degraded(rng, frames)]
                flows.append(flow.transpose(2, 0, 1))
            else:
                planes = augmented(rng, self.clips.triplet(rng, size, a, b))
            ys.append(np.stack([p[0] for p in planes]))
            us.append(np.stack([p[1] for p in planes]))
            vs.append(np.stack([p[2] for p in planes]))
        as_tensor = lambda x: torch.from_numpy(np.stack(x).astype(np.float32) / 255)
        flow = torch.from_numpy(np.stack(flows)) if flows else torch.zeros(0, 4, size, size)
        return a / b, as_tensor(ys), as_tensor(us), as_tensor(vs), flow


def split(frame):
    """[S, S, 3] -> planes of 4:2:0."""
    small = cv2.resize(frame, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
    return frame[..., 0], small[..., 1], small[..., 2]


def degraded(rng, frames):
    """Noise and a change of light, in some scenes."""
    frames = np.stack(frames).astype(np.float32)
    if rng.random() < 0.3:
        frames = frames + rng.standard_normal(frames.shape, np.float32) * rng.uniform(0.5, 4)
    if rng.random() < 0.15:
        gain = np.float32(1 + rng.normal(0, 0.04))
        frames[0], frames[2] = frames[0] * gain, frames[2] / gain
    return np.rint(np.clip(frames, 0, 255))


def augmented(rng, planes):
    """Turned and mirrored."""
    k, flip = rng.integers(4), rng.random() < 0.5
    turn = lambda p: np.rot90(p[:, ::-1] if flip else p, k)
    return [tuple(turn(p) for p in frame) for frame in planes]


def laplacian(x, y, levels=4):
    """Mean absolute difference of Laplacian pyramids, coarse levels weighted by their scale."""
    d, loss = x - y, 0
    for level in range(levels):
        small = F.avg_pool2d(d, 2)
        loss = loss + 2**level * (d - F.interpolate(small, scale_factor=2, mode="bilinear")).abs().mean()
        d = small
    return loss + 2**levels * d.abs().mean() / 2


def losses(net, t, y, u, v, flow, flow_weight):
    left = view(y[:, 0:1], u[:, 0:1], v[:, 0:1])
    right = view(y[:, 2:3], u[:, 2:3], v[:, 2:3])
    flows, mask = net(left, right, t)
    made, _, _ = synthesise(y[:, 0:1], y[:, 2:3], flows[-1], mask, t)
    d = made - y[:, 1:2]
    picture = torch.sqrt(d * d + 1e-6).mean() + 0.3 * laplacian(made, y[:, 1:2])
    n = flow.shape[0]
    epe, supervised = torch.zeros(()), 0
    if n:
        for f in flows:
            scale = flow.shape[-1] / f.shape[-1]
            truth = F.avg_pool2d(flow, int(scale)) / scale
            error = torch.sqrt(((f[:n] - truth) ** 2).view(n, 2, 2, *f.shape[2:]).sum(2) + 1e-6)
            supervised = supervised + (error + 0.01).pow(0.7).mean()
        epe = scale * error.detach().mean()
    return picture + flow_weight * supervised, picture.detach(), epe


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--data", required=True, help="what clips.py unpacked")
    p.add_argument("--dev", help="an unpacked folder to validate on")
    p.add_argument("--out", required=True, help="folder for checkpoints and the log")
    p.add_argument("--steps", type=int, default=20000)
    p.add_argument("--batch", type=int, default=8)
    p.add_argument("--size", type=int, default=256)
    p.add_argument("--rate", type=float, default=1e-3)
    p.add_argument("--synthetic", type=float, default=0.75, help="share of synthetic rows at the start")
    p.add_argument("--synthetic-end", type=float, default=0.4)
    p.add_argument("--seed", type=int, default=1)
    p.add_argument("--threads", type=int, default=1)
    p.add_argument("--validate-every", type=int, default=1500)
    p.add_argument("--compile", action="store_true")
    p.add_argument("--resume", action="store_true")
    args = p.parse_args()
    torch.manual_seed(args.seed)
    torch.set_num_threads(args.threads)
    out = pathlib.Path(args.out)
    out.mkdir(parents=True, exist_ok=True)

    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    net = Network().to(device)
    average = copy.deepcopy(net)
    optimiser = torch.optim.AdamW(net.parameters(), lr=args.rate, weight_decay=1e-4, betas=(0.9, 0.99))
    first = 0
    checkpoint = out / "checkpoint.pt"
    if args.resume:
        state = torch.load(checkpoint, map_location=device)
        net.load_state_dict(state["net"])
        average.load_state_dict(state["average"])
        optimiser.load_state_dict(state["optimiser"])
        first = state["step"]
    step_losses = torch.compile(losses, dynamic=False) if args.compile else losses

    data = Batches(Clips(args.data), args)
    loader = DataLoader(data, batch_size=None, sampler=range(first, args.steps), num_workers=1, prefetch_factor=6)
    log = open(out / "log.jsonl", "a")
    seen, started = [], time.time()
    for step, (t, y, u, v, flow) in zip(range(first, args.steps), loader):
        warm = min(1.0, (step + 1) / 300)
        for group in optimiser.param_groups:
            group["lr"] = args.rate * warm * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * step / args.steps)))
        # flow supervision leads, then steps back for the picture
        flow_weight = 0.03 * max(0.2, 1 - 1.2 * step / args.steps)
        loss, picture, epe = step_losses(net, t, y.to(device), u.to(device), v.to(device), flow.to(device), flow_weight)
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimiser.step()
        decay = min(0.999, (1 + step) / (10 + step))
        with torch.no_grad():
            for a, b in zip(average.parameters(), net.parameters()):
                a.lerp_(b, 1 - decay)
        seen.append((picture.item(), epe.item()))
        if (step + 1) % 100 == 0:
            mean = np.mean(seen, 0)
            row = {"step": step + 1, "picture": round(mean[0], 5), "epe": round(mean[1], 3), "seconds": round(time.time() - started, 1)}
            seen = []
            if args.dev and (step + 1) % args.validate_every == 0:
                row["psnr"], row["clips"] = validate(average, args.dev, most=2)
            print(row, flush=True)
            log.write(json.dumps(row) + "\n")
            log.flush()
        if (step + 1) % 500 == 0 or step + 1 == args.steps:
            state = {"net": net.state_dict(), "average": average.state_dict(), "optimiser": optimiser.state_dict(), "step": step + 1}
            torch.save(state, out / "checkpoint.tmp")
            (out / "checkpoint.tmp").replace(checkpoint)


if __name__ == "__main__":
    main()
