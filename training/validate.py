"""Every second frame withheld: PSNR of luma of the frames made, a clip at a time.

    python validate.py RUN/checkpoint.pt DEV
"""

import sys

import numpy as np
import torch
import torch.nn.functional as F

from clips import Clips
from model import VARIANTS, Network, synthesise, view


def padded(plane, multiple):
    h, w = plane.shape[-2:]
    return F.pad(plane, (0, -w % multiple, 0, -h % multiple), mode="replicate")


def load(data, w, h, frame):
    f = torch.from_numpy(data[frame].astype(np.float32) / 255)
    n = w * h // 4
    y = f[: w * h].view(1, 1, h, w)
    u = f[w * h : w * h + n].view(1, 1, h // 2, w // 2)
    v = f[w * h + n : w * h + 2 * n].view(1, 1, h // 2, w // 2)
    return y, view(padded(y, 8), padded(u, 4), padded(v, 4))


def psnr(a, b):
    return 10 * np.log10(1 / max(1e-10, ((a - b) ** 2).mean().item()))


@torch.no_grad()
def validate(net, folder, most=None, blend=False):
    clips = Clips(folder, holdout=0)
    scores = {}
    for data, w, h, name in clips.videos:
        if name.startswith("cut_"):
            continue
        middles = list(range(1, data.shape[0] - 1, 2))
        if most:
            middles = middles[len(middles) // 4 :: max(1, len(middles) // most)][:most]
        own = []
        for i in middles:
            (a, va), (b, vb), (c, _) = (load(data, w, h, k) for k in (i - 1, i + 1, i))
            if blend:
                made = (a + b) / 2
            else:
                flows, mask = net(va, vb, 0.5)
                made = synthesise(padded(a, 8), padded(b, 8), flows[-1], mask, 0.5)[0][..., :h, :w]
            own.append(psnr((made.clamp(0, 1) * 255).round() / 255, c))
        scores[name.split(".")[0]] = round(float(np.mean(own)), 2)
    return round(float(np.mean(list(scores.values()))), 3), scores


if __name__ == "__main__":
    torch.set_num_threads(1)
    state = torch.load(sys.argv[1], map_location="cpu")
    net = Network(VARIANTS[state["variant"]])
    net.load_state_dict(state["average"])
    mean, scores = validate(net, sys.argv[2])
    for name, score in scores.items():
        print(f"{name:20} {score:6.2f}")
    print(f"{'mean':20} {mean:6.2f}")
