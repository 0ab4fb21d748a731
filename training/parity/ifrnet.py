"""Runs IFRNet and writes what it answers, for tests/published.rs.

    python training/parity/ifrnet.py IFRNET tests/data/published

IFRNET is a checkout of ltkong218/IFRNet.
"""

import importlib
import math
import sys
import types
from pathlib import Path

import torch
import torch.nn.functional as F

from common import Weights, kept, picture, without_readers, write_cases

VERSIONS = {"ifrnet-s": "IFRNet_S", "ifrnet": "IFRNet", "ifrnet-l": "IFRNet_L"}
CASES = [(64, 96, 0.5, 1.0), (64, 96, 0.25, 1.0), (50, 70, 0.5, 1.0), (50, 70, 0.8, 1.0)]
MOTION = 5.0
MULTIPLE = 16
# Pixels of the largest flow that a decoder adds, and the largest residual.
FLOW = 2.0
RESIDUAL = 0.1


class Runner:
    def __init__(self, net: torch.nn.Module, module: types.ModuleType):
        self.net = net
        self.flows = []
        warp = module.warp

        def watched(image: torch.Tensor, flow: torch.Tensor) -> torch.Tensor:
            self.flows.append(flow)
            return warp(image, flow)

        module.warp = watched

    def __call__(self, case: tuple[int, int, float, float]) -> dict[str, torch.Tensor]:
        h, w, phase, _ = case
        ph, pw = (math.ceil(n / MULTIPLE) * MULTIPLE for n in (h, w))
        sides = [F.pad(picture(h, w, m), (0, pw - w, 0, ph - h), mode="replicate") for m in (0, MOTION)]
        self.flows.clear()
        out = self.net.inference(*sides, torch.full((1, 1, 1, 1), phase))
        return {
            "setup": torch.tensor(case, dtype=torch.float32),
            "picture": kept(out[:, :, :h, :w]),
            "flow": kept(torch.cat(self.flows[-2:], 1)[:, :, :h, :w]),
        }


def calibrate(runner: Runner, weights: Weights, case: tuple[int, int, float, float]) -> None:
    """Every decoder's flow and the residual as large as wanted: by rows of the last layers."""
    outputs = {}
    for level in (4, 3, 2, 1):
        block = getattr(runner.net, f"decoder{level}").convblock
        block.register_forward_hook(lambda _, __, out, level=level: outputs.update({level: out}))
    for level in (4, 3, 2, 1):
        runner(case)
        name = f"decoder{level}.convblock.2"
        largest = outputs[level][:, :4].abs().max().item()
        weights.scale(f"{name}.weight", FLOW / largest)
        weights.scale(f"{name}.bias", 0.2)


@torch.no_grad()
def run(checkout: Path, folder: Path, name: str) -> None:
    module = importlib.import_module(f"models.{VERSIONS[name]}")
    net = module.Model().eval()
    weights = Weights(net)
    runner = Runner(net, module)
    calibrate(runner, weights, CASES[0])
    weights.write(folder / f"{name}.txt")
    cases = [runner(case) for case in CASES]
    largest = max(c["flow"].abs().max().item() for c in cases)
    inside = torch.cat([c["picture"] for c in cases])
    share = ((inside > 0) & (inside < 1)).float().mean().item()
    assert largest > 2 and share > 0.3, f"{name}: flow {largest}, {share} of the values inside"
    write_cases(folder / f"{name}.safetensors", cases)
    print(f"{name}: largest flow {largest:.1f}, {share:.2f} of the values inside 0 to 1")


if __name__ == "__main__":
    checkout, folder = Path(sys.argv[1]), Path(sys.argv[2])
    sys.path.insert(0, str(checkout))
    without_readers()
    for name in VERSIONS:
        run(checkout, folder, name)
