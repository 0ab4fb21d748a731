"""Every second frame withheld: how well a network makes it, luma, a clip at a time.

    python validate.py RUN/checkpoint.pt FOLDER [--held-out] [--most N]

FOLDER is what `clips.py` unpacked: one for measuring, or with --held-out the training one, of
which only what no training sees is taken. Beside the table goes a sheet of each clip's worst
frame, `worst.png` or `worst-held-out.png` next to the checkpoint.
"""

import argparse
import pathlib
from dataclasses import dataclass

import cv2
import numpy as np
import torch
import torch.nn.functional as F

import search
from batches import NEAREST, split
from clips import Clips
from model import VARIANTS, Network, synthesise, view
from scenes import several
from scores import psnr, ssim, worst

# Scenes of uneven motion, their lines, and frames made between the first and the last of each.
SCENES, LINES, BETWEEN = 10, 256, 7
# PSNR, dB, above which nothing is seen: a scene that hardly moves would outweigh all others.
CLEAR = 50.0
# Width of a picture on the sheet, and what the error is multiplied by there.
SHEET_WIDTH, ERROR_GAIN = 400, 4


@dataclass
class Report:
    """A clip's scores, one a frame made, and its worst frame: [H, W] u8 luma."""

    name: str
    psnr: list
    ssim: list
    frame: int
    truth: np.ndarray
    made: np.ndarray

    def row(self):
        """PSNR, SSIM, PSNR that the worst frames lie below."""
        return np.mean(self.psnr), np.mean(self.ssim), worst(self.psnr)


def padded(plane, multiple):
    h, w = plane.shape[-2:]
    return F.pad(plane, (0, -w % multiple, 0, -h % multiple), mode="replicate")


def load(video, frame, device):
    """Luma [1, 1, H, W] in 0..1, padded to eighths, and the network's view."""
    w, h = video.width, video.height
    f = torch.from_numpy(video.frames[frame].astype(np.float32) / 255).to(device)
    n = w * h // 4
    y = padded(f[: w * h].view(1, 1, h, w), 8)
    u, v = (padded(f[w * h + k * n : w * h + (k + 1) * n].view(1, 1, h // 2, w // 2), 4) for k in (0, 1))
    return y, view(y, u, v)


def made_between(net, video, i, device):
    """Luma [H, W] u8 between frames i - 1 and i + 1; net None: their mean."""
    (a, va), (b, vb) = (load(video, k, device) for k in (i - 1, i + 1))
    if net is None:
        made = (a + b) / 2
    else:
        searcher = search.searcher(net.config.finest)
        codes = lambda x: (x[0, 0].cpu().numpy() * 255).round().astype(np.uint8)
        found = search.found(searcher, codes(a), codes(b))
        past = np.zeros_like(found[:3])
        if i >= 3 and not any(i - 3 < start < i for start, _ in video.shots):
            past[:2] = search.motion(searcher, codes(a), codes(load(video, i - 3, device)[0]))
            past[2] = 1
        found, past = (torch.from_numpy(x)[None].to(device) for x in (found, past))
        flows, mask = net(va, vb, found, past, 0.5)
        made = synthesise(a, b, flows[-1], mask, 0.5)[0]
    made = made[0, 0, : video.height, : video.width]
    return (made.clamp(0, 1) * 255).round().byte().cpu().numpy()


def middles(video, most=None):
    """Frames to make: every second one whose neighbours are of the same shot."""
    starts = {start for start, _ in video.shots}
    frames = [i for i in range(1, len(video.frames) - 1, 2) if not starts & {i, i + 1}]
    if most:
        frames = frames[len(frames) // 4 :: max(1, len(frames) // most)][:most]
    return frames


@torch.no_grad()
def measure(net, videos, most=None):
    """A Report for each video that has frames to make, at most `most` of them; net None: blend."""
    device = next(net.parameters()).device if net else "cpu"
    reports = []
    for video in videos:
        # those with a cut have no right answer
        if video.name.startswith("cut_"):
            continue
        scores = []
        for i in middles(video, most):
            truth = video.frames[i][: video.width * video.height].reshape(video.height, video.width)
            made = made_between(net, video, i, device)
            scores.append((psnr(made, truth), ssim(made, truth), i))
            if scores[-1] == min(scores):
                worst = (i, np.array(truth), made)
        if scores:
            p, s, _ = zip(*scores)
            reports.append(Report(video.name.split(".")[0], list(p), list(s), *worst))
    return reports


@torch.no_grad()
def measure_maps(net, texture):
    """PSNR of luma of frames made with exact distance maps, at most CLEAR, [SCENES, BETWEEN]; texture as for layers.scene."""
    searcher, device = search.searcher(net.config.finest), next(net.parameters()).device
    tensor = lambda x: torch.from_numpy(np.asarray(x, np.float32))[None].to(device)
    scores = []
    for seed in range(SCENES):
        frames, maps = several(np.random.default_rng(seed), texture, LINES, BETWEEN, eased=True)
        first, *truths, last = map(split, frames)
        (a, va), (b, vb) = ((y, view(y, u, v)) for y, u, v in ([tensor(p[None]) / 255 for p in f] for f in (first, last)))
        found = tensor(search.found(searcher, first[0], last[0]))
        sides = net.encode(va), net.encode(vb)
        for truth, t in zip(truths, tensor(np.clip(maps, NEAREST, 1 - NEAREST)).split(1, 1)):
            flows, mask = net.estimate(*sides, found, torch.zeros_like(found[:, :3]), t)
            made = synthesise(a, b, flows[-1], mask, t)[0][0, 0]
            scores.append(min(CLEAR, psnr((made.clamp(0, 1) * 255).round().byte().cpu().numpy(), truth[0])))
    return np.reshape(scores, (SCENES, BETWEEN))


def table(reports):
    lines = [f"{'':24} {'PSNR-Y':>7} {'SSIM-Y':>7} {'worst 5 %':>9} {'frames':>6}"]
    for r in reports:
        p, s, w = r.row()
        lines.append(f"{r.name:24} {p:7.2f} {s:7.4f} {w:9.2f} {len(r.psnr):6}")
    p, s, w = np.mean([r.row() for r in reports], 0)
    lines.append(f"{'mean over clips':24} {p:7.2f} {s:7.4f} {w:9.2f} {sum(len(r.psnr) for r in reports):6}")
    return "\n".join(lines)


def sheet(reports):
    """[H, W] u8: a row a clip: the worst frame's truth, ours, and their difference."""
    rows = []
    for r in reports:
        error = np.clip(cv2.absdiff(r.truth, r.made).astype(np.int16) * ERROR_GAIN, 0, 255).astype(np.uint8)
        h, w = r.truth.shape
        small = (SHEET_WIDTH, h * SHEET_WIDTH // w)
        row = np.hstack([cv2.resize(p, small, interpolation=cv2.INTER_AREA) for p in (r.truth, r.made, error)])
        label = f"{r.name}, frame {r.frame}: {min(r.psnr):.2f} dB"
        for colour, thick in ((0, 3), (255, 1)):
            cv2.putText(row, label, (6, 16), cv2.FONT_HERSHEY_SIMPLEX, 0.45, colour, thick, cv2.LINE_AA)
        rows.append(row)
    return np.vstack(rows)


def network(path):
    """The averaged weights of a checkpoint."""
    state = torch.load(path, map_location="cpu")
    net = Network(VARIANTS[state["variant"]])
    net.load_state_dict(state["average"])
    return net


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("checkpoint", type=pathlib.Path)
    p.add_argument("folder")
    p.add_argument("--held-out", action="store_true", help="only the clips that training keeps back")
    p.add_argument("--most", type=int, help="frames a clip, spread evenly; all without it")
    p.add_argument("--blend", action="store_true", help="the mean of both neighbours instead of the network")
    args = p.parse_args()
    torch.set_num_threads(1)
    net = None if args.blend else network(args.checkpoint)
    clips = Clips(args.folder, held_out=True) if args.held_out else Clips(args.folder, holdout=0)
    reports = measure(net, clips.videos, args.most)
    if not reports:
        p.error(f"{args.folder}: no clip to measure")
    print(table(reports))
    path = args.checkpoint.with_name("worst-held-out.png" if args.held_out else "worst.png")
    cv2.imwrite(str(path), sheet(reports))
    print(f"the worst frame of each: {path}")


if __name__ == "__main__":
    main()
