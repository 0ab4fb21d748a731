"""Runs FILM and writes what it answers, for tests/published.rs.

    python training/parity/film.py PORT tests/data/published

PORT is a checkout of dajes/frame-interpolation-pytorch.
"""

import math
import sys
from pathlib import Path

import torch
import torch.nn.functional as F

from common import Weights, kept, picture, without_readers, write_cases

# Height, width, phase, recursion; the second size needs padding. At recursion 0 flows are scaled.
CASES = [(64, 128, 0.5, 0), (64, 128, 0.3, 0), (50, 100, 0.5, 3), (50, 100, 0.375, 3)]
MOTION = 5.0
MULTIPLE = 64
# Pixels of the largest flow that a level adds.
FLOW = 1.0


class Runner:
    def __init__(self, net: torch.nn.Module):
        self.net = net

    def once(self, left: torch.Tensor, right: torch.Tensor, phase: float) -> tuple[torch.Tensor, torch.Tensor]:
        """Picture and flow to both sides, padded as the authors do and cut again."""
        h, w = left.shape[2:]
        rows, columns = (math.ceil(n / MULTIPLE) * MULTIPLE - n for n in (h, w))
        pad = (columns // 2, columns - columns // 2, rows // 2, rows - rows // 2)
        left, right = F.pad(left, pad), F.pad(right, pad)
        out = self.net.debug_forward(left, right, torch.full((1, 1), phase))
        self.out = out
        flow = torch.cat([out["backward_flow_pyramid"][0] * phase, out["forward_flow_pyramid"][0] * (1 - phase)], 1)
        inside = (..., slice(pad[2], pad[2] + h), slice(pad[0], pad[0] + w))
        return out["image"][0][inside], flow[inside]

    def __call__(self, case: tuple[int, int, float, int]) -> dict[str, torch.Tensor]:
        h, w, phase, recursion = case
        sides = [picture(h, w, 0), picture(h, w, MOTION)]
        made, flow = self.once(*sides, phase)
        if recursion > 0:
            first, last = 0.0, 1.0
            while True:
                middle = (first + last) / 2
                made, _ = self.once(*sides, 0.5)
                if middle == phase:
                    break
                if phase < middle:
                    last, sides[1] = middle, made
                else:
                    first, sides[0] = middle, made
        return {
            "setup": torch.tensor(case, dtype=torch.float32),
            "picture": kept(made.clamp(0, 1)),
            "flow": kept(flow),
        }


def calibrate(runner: Runner, weights: Weights) -> None:
    """Each predictor's largest flow as wanted, and a picture of ordinary range."""
    names = ["predict_flow._predictor", *(f"predict_flow._predictors.{k}" for k in range(3))]
    for level, name in zip([slice(3, None), slice(2, 3), slice(1, 2), slice(0, 1)], names):
        runner(CASES[0])
        residuals = runner.out["forward_residual_flow_pyramid"][level]
        largest = max(r.abs().max().item() for r in residuals)
        for part in ("weight", "bias"):
            weights.scale(f"{name}._convs.4.0.{part}", FLOW / largest)
    runner(CASES[0])
    image = runner.out["image"][0]
    weights.scale("fuse.output_conv.weight", 0.2 / image.std().item())
    runner(CASES[0])
    name = "fuse.output_conv.bias"
    weights.spans[name] = (0.5 - runner.out["image"][0].mean().item(), 0.05)
    weights.set(name)


@torch.no_grad()
def run(folder: Path) -> None:
    from interpolator import Interpolator

    net = Interpolator().eval()
    weights = Weights(net)
    runner = Runner(net)
    calibrate(runner, weights)
    weights.write(folder / "film.txt")
    cases = [runner(case) for case in CASES]
    largest = max(c["flow"].abs().max().item() for c in cases)
    inside = torch.cat([c["picture"] for c in cases])
    share = ((inside > 0) & (inside < 1)).float().mean().item()
    assert largest > 2 and share > 0.3, f"flow {largest}, {share} of the values inside"
    write_cases(folder / "film.safetensors", cases)
    print(f"film: largest flow {largest:.1f}, {share:.2f} of the values inside 0 to 1")


if __name__ == "__main__":
    sys.path.insert(0, sys.argv[1])
    without_readers()
    run(Path(sys.argv[2]))
