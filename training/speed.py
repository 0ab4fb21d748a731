"""How long PyTorch takes for what the plugin does: the twin on a clip, doubled.

    python training/speed.py CLIP.yuv WIDTHxHEIGHT [--variant balanced] [--frames 10] [--threads 2]

CLIP.yuv holds raw 4:2:0 frames of 8 bits with even sides. Prints the median time of a new frame in
milliseconds: one picture encoded, motion and mask estimated, three planes made. The search that the network begins
from is OpenCV's and not counted, nor are reading and writing.
"""

import argparse
import statistics
import time

import numpy as np
import torch
import torch.nn.functional as F

from model import Network, VARIANTS, synthesise, view, warp
from validate import padded


def frames(path, w, h):
    size = w * h * 3 // 2
    data = np.memmap(path, np.uint8, "r")
    for i in range(len(data) // size):
        f = torch.from_numpy(data[i * size : (i + 1) * size].astype(np.float32) / 255)
        y = f[: w * h].view(1, 1, h, w)
        u, v = (f[w * h + k * w * h // 4 :][: w * h // 4].view(1, 1, h // 2, w // 2) for k in (0, 1))
        yield padded(y, 16), padded(u, 8), padded(v, 8)


@torch.no_grad()
def new_frame(net, left, planes, found, past):
    """The encoded right picture, after a picture was made between it and the left one."""
    encoded = net.encode(view(*planes[1]))
    flows, mask = net.estimate(left, encoded, found, past, 0.5)
    _, flow, mask = synthesise(planes[0][0], planes[1][0], flows[-1], mask, 0.5)
    flow, mask = F.avg_pool2d(flow, 2) / 2, F.avg_pool2d(mask, 2)
    a, b = (torch.cat(p[1:], 1) for p in planes)
    mask * warp(a, flow[:, :2]) + (1 - mask) * warp(b, flow[:, 2:])
    return encoded


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("clip")
    parser.add_argument("size", help="as 1280x720")
    parser.add_argument("--variant", choices=VARIANTS, default="balanced")
    parser.add_argument("--frames", type=int, default=10)
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    w, h = map(int, args.size.split("x"))
    torch.set_num_threads(args.threads)
    net = Network(VARIANTS[args.variant]).eval().to(memory_format=torch.channels_last)
    pictures = frames(args.clip, w, h)
    before = next(pictures)
    cells = [side // 8 for side in before[0].shape[-2:]]
    found, past = torch.zeros(1, 4, *cells), torch.zeros(1, 3, *cells)
    with torch.no_grad():
        left = net.encode(view(*before))
    times = []
    for planes, _ in zip(pictures, range(args.frames + 1)):
        start = time.perf_counter()
        left = new_frame(net, left, (before, planes), found, past)
        times.append(time.perf_counter() - start)
        before = planes
    # the first one finds memory and kernels
    print(f"{statistics.median(times[1:]) * 1e3:.1f}")


if __name__ == "__main__":
    main()
