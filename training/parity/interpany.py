"""Runs IFRNet with distances and iterative references and writes what it answers, for
tests/published.rs.

    python training/parity/interpany.py INTERPANY tests/data/published

INTERPANY is a checkout of zzh-tech/InterpAny-Clearer.
"""

import importlib
import math
import sys
from pathlib import Path

import torch
import torch.nn.functional as F

import ifrnet
from common import Weights, kept, picture, without_readers, write_cases

# Height, width, phase, steps.
CASES = [(64, 96, 0.5, 2), (64, 96, 0.25, 1), (50, 70, 0.5, 2), (50, 70, 0.8, 3)]


class Runner(ifrnet.Runner):
    def __call__(self, case: tuple[int, int, float, int]) -> dict[str, torch.Tensor]:
        h, w, phase, steps = case
        ph, pw = (math.ceil(n / ifrnet.MULTIPLE) * ifrnet.MULTIPLE for n in (h, w))
        pad = (0, pw - w, 0, ph - h)
        left, right = (F.pad(picture(h, w, m), pad, mode="replicate") for m in (0, ifrnet.MOTION))
        reference = left
        for step in range(steps):
            before, now = (torch.full((1, 1, ph, pw), phase * s / steps) for s in (step, step + 1))
            self.flows.clear()
            reference = self.net(left, right, reference, now, before, eval=True)["imgt_pred"]
        return {
            "setup": torch.tensor(case, dtype=torch.float32),
            "picture": kept(reference[:, :, :h, :w]),
            "flow": kept(torch.cat(self.flows[-2:], 1)[:, :, :h, :w]),
        }


@torch.no_grad()
def run(folder: Path, name: str) -> None:
    module = importlib.import_module("networks.SDI-R-IFRNet")
    net = module.Model().eval()
    weights = Weights(net)
    runner = Runner(net, module)
    ifrnet.calibrate(runner, weights, CASES[1])
    weights.write(folder / f"{name}.txt")
    cases = [runner(case) for case in CASES]
    largest = max(c["flow"].abs().max().item() for c in cases)
    assert largest > 2, f"{name}: flow {largest}"
    write_cases(folder / f"{name}.safetensors", cases)
    print(f"{name}: largest flow {largest:.1f}")


if __name__ == "__main__":
    sys.path.insert(0, str(Path(sys.argv[1]) / "models" / "DI-AMT-and-IFRNet"))
    without_readers()
    run(Path(sys.argv[2]), "ifrnet-dr")
