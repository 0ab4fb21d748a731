"""Runs AMT and writes what it answers, for tests/published.rs.

    python training/parity/amt.py AMT tests/data/published

AMT is a checkout of MCG-NKU/AMT, whose licence allows no commercial use: nothing of it is kept but what
it answers.
"""

import importlib
import math
import sys
import types
from pathlib import Path

import torch
import torch.nn.functional as F

from common import Weights, kept, picture, without_readers, write_cases

VERSIONS = {"amt-s": "AMT-S", "amt-l": "AMT-L", "amt-g": "AMT-G"}
# Height, width, phase; the second size needs padding, and its levels are odd.
CASES = [(128, 192, 0.5, 1.0), (128, 192, 0.25, 1.0), (140, 200, 0.5, 1.0), (140, 200, 0.8, 1.0)]
MOTION = 5.0
MULTIPLE = 16
# Pixels of the largest flow that a decoder adds and that is corrected; the deviation of what is added.
FLOW = 2.0
CORRECTION = 1.0
RESIDUAL = 0.1


class Runner:
    def __init__(self, net: torch.nn.Module, module: types.ModuleType):
        self.net, self.outputs, self.flows = net, {}, None
        combine = module.multi_flow_combine

        def watched(block, left, right, flow0, flow1, mask, residual, mean):
            self.flows = (flow0, flow1)
            return combine(block, left, right, flow0, flow1, mask, residual, mean)

        module.multi_flow_combine = watched
        for name, part in net.named_children():
            if name.startswith("update"):
                part.register_forward_hook(lambda _, __, out, name=name: self.outputs.update({name: out[1]}))
            elif name.startswith("decoder"):
                part.convblock.register_forward_hook(lambda _, __, out, name=name: self.outputs.update({name: out}))
            elif name == "comb_block":
                part.register_forward_hook(lambda _, __, out, name=name: self.outputs.update({name: out}))

    def __call__(self, case: tuple[int, int, float, float]) -> dict[str, torch.Tensor]:
        h, w, phase, _ = case
        rows, columns = (math.ceil(n / MULTIPLE) * MULTIPLE - n for n in (h, w))
        top, left = rows // 2, columns // 2
        pad = (left, columns - left, top, rows - top)
        sides = [F.pad(picture(h, w, m), pad, mode="replicate") for m in (0, MOTION)]
        out = self.net(*sides, torch.full((1, 1, 1, 1), phase), eval=True)["imgt_pred"]
        means = [torch.stack(flow.chunk(flow.shape[1] // 2, 1)).mean(0) for flow in self.flows]
        inside = (..., slice(top, top + h), slice(left, left + w))
        return {
            "setup": torch.tensor(case, dtype=torch.float32),
            "picture": kept(out[inside]),
            "flow": kept(torch.cat(means, 1)[inside]),
        }


def calibrate(runner: Runner, weights: Weights) -> None:
    """Every flow, every correction and what is added as large as wanted, in the order in which they come."""
    parts = [name for name, _ in runner.net.named_children()]
    fields = runner.net.num_flows
    for level in (4, 3, 2, 1):
        runner(CASES[0])
        name = f"decoder{level}"
        flows = 4 * fields if level == 1 else 4
        largest = runner.outputs[name][:, :flows].abs().max().item()
        weights.scale(f"{name}.convblock.2.weight", FLOW / largest)
        weights.scale(f"{name}.convblock.2.bias", 0.2)
        for name in sorted((p for p in parts if p.startswith(f"update{level}")), reverse=True):
            runner(CASES[0])
            largest = runner.outputs[name].abs().max().item()
            weights.scale(f"{name}.flow_head.2.weight", CORRECTION / largest)
            weights.scale(f"{name}.flow_head.2.bias", 0.2)
    runner(CASES[0])
    weights.scale("comb_block.2.weight", RESIDUAL / runner.outputs["comb_block"].std().item())


@torch.no_grad()
def run(folder: Path, name: str) -> None:
    module = importlib.import_module(f"networks.{VERSIONS[name]}")
    net = module.Model().eval()
    weights = Weights(net)
    runner = Runner(net, module)
    calibrate(runner, weights)
    weights.write(folder / f"{name}.txt")
    cases = [runner(case) for case in CASES]
    largest = max(c["flow"].abs().max().item() for c in cases)
    inside = torch.cat([c["picture"] for c in cases])
    share = ((inside > 0) & (inside < 1)).float().mean().item()
    assert largest > 2 and share > 0.3, f"{name}: flow {largest}, {share} of the values inside"
    write_cases(folder / f"{name}.safetensors", cases)
    print(f"{name}: largest flow {largest:.1f}, {share:.2f} of the values inside 0 to 1")


if __name__ == "__main__":
    sys.path.insert(0, sys.argv[1])
    without_readers()
    for name in VERSIONS:
        run(Path(sys.argv[2]), name)
