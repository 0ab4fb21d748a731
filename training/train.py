"""Trains the embedded network; the same seed gives the same run.

    python train.py --data DATA --out RUN [--variant fast] [--steps N] [--resume]

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
from torch.utils.data import DataLoader

from batches import Batches
from clips import Clips
from model import VARIANTS, Network, synthesise, view
from validate import measure, measure_maps, sheet, table

# What the motion told on real rows counts, against that known on synthetic ones.
TAUGHT = 1.0
# What the relative distance of Gram matrices counts against the mean difference of gradients.
GRAM = 0.02
# What the look counts in the finish.
LOOK = 0.3


def laplacian(x, y, levels=4):
    """Mean absolute difference of Laplacian pyramids, coarse levels weighted by their scale."""
    d, loss = x - y, 0
    for level in range(levels):
        small = F.avg_pool2d(d, 2)
        loss = loss + 2**level * (d - F.interpolate(small, scale_factor=2, mode="bilinear")).abs().mean()
        d = small
    return loss + 2**levels * d.abs().mean() / 2


def look(encoder, made, truth, u, v):
    """How different two pictures' luma looks: gradients where they are, and which features go together.

    The second is the distance of Gram matrices (Gatys et al., 2016) of the network's own features, relative to the
    truth's. Both pictures get the truth's chroma.
    """
    gradient = lambda x: (x[..., 1:] - x[..., :-1], x[..., 1:, :] - x[..., :-1, :])
    loss = sum((a - b).abs().mean() for a, b in zip(gradient(made), gradient(truth)))
    for a, b in zip(encoder(view(made, u, v)), encoder(view(truth, u, v))):
        a, b = (torch.einsum("bchw,bdhw->bcd", x, x) / x[0, 0].numel() for x in (a, b))
        loss = loss + GRAM * ((a - b).abs().mean((1, 2)) / b.abs().mean((1, 2))).mean()
    return loss


def losses(net, batch, flow_weight, decibel_weight, look_weight=0.0, encoder=None):
    """Loss to descend, mean Charbonnier error of the picture, end-point error of the finest flow in pixels."""
    t, y, u, v, flow, _, _, found, past, told = batch
    left = view(y[:, 0:1], u[:, 0:1], v[:, 0:1])
    right = view(y[:, 2:3], u[:, 2:3], v[:, 2:3])
    flows, mask = net(left, right, found, past, t)
    made, _, _ = synthesise(y[:, 0:1], y[:, 2:3], flows[-1], mask, t)
    d = made - y[:, 1:2]
    charbonnier = torch.sqrt(d * d + 1e-6).mean()
    decibels = torch.log((d * d).mean((1, 2, 3)) + 1e-5).mean()
    picture = charbonnier + 0.3 * laplacian(made, y[:, 1:2]) + decibel_weight * decibels
    if look_weight:
        picture = picture + look_weight * look(encoder, made, y[:, 1:2], u[:, 1:2], v[:, 1:2])
    supervised, epe = supervise(flows, flow) if len(flow) else (0.0, torch.zeros(()))
    taught = teach(flows, told) if len(told) else 0.0
    return picture + flow_weight * (supervised + TAUGHT * taught), charbonnier.detach(), epe


def supervise(flows, truth):
    """Robust distance of every level's flow to the truth's mean in its cells, and the finest level's
    end-point error in pixels."""
    n, loss = len(truth), 0
    for f in flows:
        scale = truth.shape[-1] / f.shape[-1]
        difference = f[:n] - F.avg_pool2d(truth, int(scale)) / scale
        error = torch.sqrt((difference**2).view(n, 2, 2, *f.shape[2:]).sum(2) + 1e-6)
        loss = loss + (error + 0.01).pow(0.7).mean()
    return loss, scale * error.detach().mean()


def teach(flows, truth):
    """Robust distance of both flows of the last rows to what a search told of them, in cells."""
    loss = 0
    for f in flows:
        scale = f.shape[-1] // truth.shape[-1]
        difference = F.avg_pool2d(f[-len(truth) :], scale) / scale - truth
        error = torch.sqrt((difference**2).view(len(truth), 2, 2, *truth.shape[2:]).sum(2) + 1e-6)
        loss = loss + (error + 0.01).pow(0.7).mean()
    return loss


def arguments():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--data", required=True, help="what clips.py unpacked")
    p.add_argument("--dev", help="an unpacked folder to validate on, beside what DATA keeps back")
    p.add_argument("--out", required=True, type=pathlib.Path, help="folder for checkpoints and the log")
    p.add_argument("--variant", choices=VARIANTS, default="balanced")
    p.add_argument("--init", type=pathlib.Path, help="a checkpoint of the variant whose averaged weights to begin with")
    p.add_argument("--steps", type=int, default=20000)
    p.add_argument("--batch", type=int, default=8)
    p.add_argument("--size", type=int, default=256)
    p.add_argument("--rate", type=float, default=1e-3)
    p.add_argument("--synthetic", type=float, default=0.75, help="share of synthetic rows at the start")
    p.add_argument("--synthetic-end", type=float, default=0.4)
    p.add_argument("--maps", type=float, default=0.0, help="share of the batches with distance maps in place of one phase")
    p.add_argument("--finish", type=float, default=0.0, help="share of the steps, the last ones, that also learn the look")
    p.add_argument("--seed", type=int, default=1)
    p.add_argument("--threads", type=int, default=1)
    p.add_argument("--validate-every", type=int, default=1500)
    p.add_argument("--resume", action="store_true")
    return p.parse_args()


class Run:
    """A network in training, with all that a checkpoint holds."""

    def __init__(self, args):
        self.args = args
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.net = Network(VARIANTS[args.variant]).to(self.device)
        if args.init:
            self.net.load_state_dict(torch.load(args.init, map_location=self.device)["average"])
        self.average = copy.deepcopy(self.net).requires_grad_(False)
        self.optimiser = torch.optim.AdamW(self.net.parameters(), lr=args.rate, weight_decay=1e-4, betas=(0.9, 0.99))
        self.step = 0
        if args.resume:
            self.resume()

    def resume(self):
        path = self.args.out / "checkpoint.pt"
        if not path.exists():
            raise SystemExit(f"{path}: nothing to resume; leave out --resume")
        state = torch.load(path, map_location=self.device)
        self.net.load_state_dict(state["net"])
        self.average.load_state_dict(state["average"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.step = state["step"]

    def save(self):
        parts = {name: getattr(self, name).state_dict() for name in ("net", "average", "optimiser")}
        torch.save({"variant": self.args.variant, "step": self.step, **parts}, self.args.out / "checkpoint.tmp")
        (self.args.out / "checkpoint.tmp").replace(self.args.out / "checkpoint.pt")

    def descend(self, batch):
        """One step; answers the picture's error and the flow's."""
        progress, warm = self.step / self.args.steps, min(1.0, (self.step + 1) / 300)
        for group in self.optimiser.param_groups:
            group["lr"] = self.args.rate * warm * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * progress)))
        # flow supervision leads, then steps back for the picture; decibels count towards the end
        flow_weight = 0.03 * max(0.3, 1 - progress)
        batch = [x.to(self.device) if torch.is_tensor(x) else x for x in batch]
        look_weight = LOOK if progress >= 1 - self.args.finish else 0.0
        judge = self.average.encoder
        loss, picture, epe = losses(self.net, batch, flow_weight, 0.015 * progress, look_weight, judge)
        self.optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.net.parameters(), 1.0)
        self.optimiser.step()
        decay = min(0.999, (1 + self.step) / (10 + self.step))
        with torch.no_grad():
            for a, b in zip(self.average.parameters(), self.net.parameters()):
                a.lerp_(b, 1 - decay)
        self.step += 1
        return picture.item(), epe.item()

    def validate(self):
        """Mean PSNR-Y of the averaged weights; table and sheet of worst frames go beside the checkpoint. With distance
        maps also that of scenes of uneven motion."""
        sets = {"held-out": Clips(self.args.data, held_out=True)}
        if self.args.dev:
            sets["dev"] = Clips(self.args.dev, holdout=0)
        means = {}
        for name, clips in sets.items():
            reports = measure(self.average, clips.videos, most=2)
            if reports:
                means[name] = round(float(np.mean([r.row()[0] for r in reports])), 3)
                (self.args.out / f"{name}.txt").write_text(table(reports) + "\n")
                cv2.imwrite(str(self.args.out / f"{name}.png"), sheet(reports))
        if self.args.maps:
            means["maps"] = round(float(np.mean(measure_maps(self.average, sets["held-out"].texture))), 3)
        return means


def main():
    args = arguments()
    torch.manual_seed(args.seed)
    torch.set_num_threads(args.threads)
    args.out.mkdir(parents=True, exist_ok=True)
    run = Run(args)
    data = Batches(Clips(args.data), args, VARIANTS[args.variant].finest)
    loader = DataLoader(data, batch_size=None, sampler=range(run.step, args.steps), num_workers=1, prefetch_factor=6)
    log = open(args.out / "log.jsonl", "a")
    seen, started = [], time.time()
    for batch in loader:
        seen.append(run.descend(batch))
        if run.step % 100 == 0:
            picture, epe = np.mean(seen, 0).tolist()
            row = {"step": run.step, "picture": round(picture, 5), "epe": round(epe, 3), "seconds": round(time.time() - started, 1)}
            seen = []
            if run.step % args.validate_every == 0:
                row |= run.validate()
            print(row, flush=True)
            log.write(json.dumps(row) + "\n")
            log.flush()
        if run.step % 500 == 0 or run.step == args.steps:
            run.save()


if __name__ == "__main__":
    main()
