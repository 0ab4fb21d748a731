"""Runs what InterpAny-Clearer has trained on distances, with and without iterative references, of RIFE
and IFRNet and writes what it answers, for tests/published.rs.

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

# Height, width, phase, and steps where there are references.
CASES = [(64, 96, 0.5, 1), (64, 96, 0.25, 1), (50, 70, 0.5, 1), (50, 70, 0.8, 1)]
STEPS = [2, 1, 2, 3]
RIFE_MULTIPLE = 32
RIFE_BLOCKS = 3
# Pixels that each block's largest flow has, and the deviation of what the refiner adds.
RIFE_FLOW = 3.0
RIFE_RESIDUAL = 0.1


def with_steps(has_reference: bool) -> list[tuple[int, int, float, int]]:
    return [(*case[:3], steps) for case, steps in zip(CASES, STEPS)] if has_reference else CASES


class Ifrnet(ifrnet.Runner):
    def __init__(self, net: torch.nn.Module, module, has_reference: bool):
        super().__init__(net, module)
        self.has_reference = has_reference

    def __call__(self, case: tuple[int, int, float, int]) -> dict[str, torch.Tensor]:
        h, w, phase, steps = case
        ph, pw = (math.ceil(n / ifrnet.MULTIPLE) * ifrnet.MULTIPLE for n in (h, w))
        pad = (0, pw - w, 0, ph - h)
        left, right = (F.pad(picture(h, w, m), pad, mode="replicate") for m in (0, ifrnet.MOTION))
        reference = left
        for step in range(steps):
            before, now = (torch.full((1, 1, ph, pw), phase * s / steps) for s in (step, step + 1))
            self.flows.clear()
            given = (reference, now, before) if self.has_reference else (now,)
            reference = self.net(left, right, *given, eval=True)["imgt_pred"]
        return {
            "setup": torch.tensor(case, dtype=torch.float32),
            "picture": kept(reference[:, :, :h, :w]),
            "flow": kept(torch.cat(self.flows[-2:], 1)[:, :, :h, :w]),
        }


def run_ifrnet(folder: Path, version: str, has_reference: bool, name: str) -> None:
    module = importlib.import_module(f"networks.{version}")
    net = module.Model().eval()
    weights = Weights(net)
    runner = Ifrnet(net, module, has_reference)
    ifrnet.calibrate(runner, weights, CASES[1])
    write(folder, name, weights, [runner(case) for case in with_steps(has_reference)])


class Rife:
    def __init__(self, net: torch.nn.Module, has_reference: bool):
        self.net, self.has_reference = net, has_reference
        self.answers, self.logits = [], []
        for i in range(RIFE_BLOCKS):
            block = getattr(net, f"block{i}")
            block.register_forward_hook(lambda _, __, out: self.answers.append(out[0]))
        net.unet.conv.register_forward_hook(lambda _, __, out: self.logits.append(out))

    def __call__(self, case: tuple[int, int, float, int]) -> dict[str, torch.Tensor]:
        h, w, phase, steps = case
        ph, pw = (math.ceil(n / RIFE_MULTIPLE) * RIFE_MULTIPLE for n in (h, w))
        left, right = (F.pad(picture(h, w, m), (0, pw - w, 0, ph - h)) for m in (0, ifrnet.MOTION))
        reference = left
        for step in range(steps):
            before, now = (torch.full((1, 1, ph, pw), phase * s / steps) for s in (step, step + 1))
            self.answers.clear(), self.logits.clear()
            given = torch.cat([now, before, reference], 1) if self.has_reference else now
            flows, _, merged, *_ = self.net(torch.cat([left, right], 1), [4, 2, 1], sdi_map=given)
            reference = merged[2]
        return {
            "setup": torch.tensor(case, dtype=torch.float32),
            "picture": kept(reference[:, :, :h, :w]),
            "flow": kept(flows[2][:, :, :h, :w]),
        }


def run_rife(folder: Path, version: str, has_reference: bool, name: str) -> None:
    net = importlib.import_module(f"model.{version}").IFNet_sdi(distill=False).eval()
    weights = Weights(net)
    runner = Rife(net, has_reference)
    for i in range(RIFE_BLOCKS):
        runner(CASES[1])
        largest = runner.answers[i].abs().max().item()
        weights.scale(f"block{i}.lastconv.weight", RIFE_FLOW / largest)
        weights.scale(f"block{i}.lastconv.bias", 0.2)
    runner(CASES[1])
    # The residual is the hyperbolic tangent of half of it.
    weights.scale("unet.conv.weight", 2 * RIFE_RESIDUAL / runner.logits[-1].std().item())
    write(folder, name, weights, [runner(case) for case in with_steps(has_reference)])


def write(folder: Path, name: str, weights: Weights, cases: list[dict[str, torch.Tensor]]) -> None:
    weights.write(folder / f"{name}.txt")
    largest = max(c["flow"].abs().max().item() for c in cases)
    inside = torch.cat([c["picture"] for c in cases])
    share = ((inside > 0) & (inside < 1)).float().mean().item()
    assert largest > 2 and share > 0.3, f"{name}: flow {largest}, {share} of the values inside"
    write_cases(folder / f"{name}.safetensors", cases)
    print(f"{name}: largest flow {largest:.1f}, {share:.2f} of the values inside 0 to 1")


if __name__ == "__main__":
    models, folder = Path(sys.argv[1]) / "models", Path(sys.argv[2])
    sys.path[:0] = [str(models / "DI-AMT-and-IFRNet"), str(models / "DI-RIFE")]
    without_readers()
    with torch.no_grad():
        run_ifrnet(folder, "SDI-IFRNet", False, "ifrnet-d")
        run_ifrnet(folder, "SDI-R-IFRNet", True, "ifrnet-dr")
        run_rife(folder, "IFNet_sdi", False, "rife-d")
        run_rife(folder, "IFNet_sdi_recur", True, "rife-dr")
