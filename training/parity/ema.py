"""Runs EMA-VFI and writes what it answers, for tests/published.rs.

    python training/parity/ema.py EMA-VFI tests/data/published

EMA-VFI is a checkout of MCG-NJU/EMA-VFI.
"""

import sys
import types
from pathlib import Path

import torch

from common import Weights, kept, picture, without_readers, write_cases

# First features and blocks of each stage.
VERSIONS = {"ema-small": (16, [2, 2, 2, 2, 2]), "ema": (32, [2, 2, 2, 4, 4])}
# Height, width, phase; the first size falls into whole windows, the second needs padding everywhere.
CASES = [(224, 224, 0.5, 1.0), (224, 224, 0.25, 1.0), (100, 150, 0.5, 1.0), (100, 150, 0.8, 1.0)]
MOTION = 5.0
MULTIPLE = 32
HEADS = 2
# Pixels of the largest flow that a head adds, and the deviation of what the refiner adds.
FLOW = 3.0
RESIDUAL = 0.1


def without_timm() -> None:
    """The three helpers that the authors import."""
    layers = types.ModuleType("timm.models.layers")
    layers.DropPath = torch.nn.Identity
    layers.to_2tuple = lambda x: (x, x)
    layers.trunc_normal_ = torch.nn.init.trunc_normal_
    sys.modules["timm"] = types.ModuleType("timm")
    sys.modules["timm.models"] = types.ModuleType("timm.models")
    sys.modules["timm.models.layers"] = layers


class Runner:
    def __init__(self, net: torch.nn.Module, padder: type):
        self.net, self.padder = net, padder
        self.answers, self.logits = [], []
        for head in net.block:
            head.register_forward_hook(lambda _, __, out: self.answers.append(out[0]))
        net.unet.conv.register_forward_hook(lambda _, __, out: self.logits.append(out))

    def __call__(self, case: tuple[int, int, float, float]) -> dict[str, torch.Tensor]:
        h, w, phase, _ = case
        padder = self.padder((1, 3, h, w), divisor=MULTIPLE)
        left, right = padder.pad(picture(h, w, 0), picture(h, w, MOTION))
        self.answers.clear(), self.logits.clear()
        self.forget()
        flows, _, _, made = self.net(torch.cat([left, right], 1), timestep=phase)
        return {
            "setup": torch.tensor(case, dtype=torch.float32),
            "picture": kept(padder.unpad(made)),
            "flow": kept(padder.unpad(flows[-1])),
        }


    def forget(self) -> None:
        """Masks of the size before: the modules know them again by height times width alone."""
        for module in self.net.modules():
            if hasattr(module, "HW"):
                del module.HW, module.attn_mask


@torch.no_grad()
def run(folder: Path, name: str) -> None:
    import config
    from benchmark.utils.padder import InputPadder
    from model import feature_extractor, flow_estimation

    features, depths = VERSIONS[name]
    backbone, heads = config.init_model_config(F=features, depth=depths)
    net = flow_estimation(feature_extractor(**backbone), **heads).eval()
    weights = Weights(net)
    runner = Runner(net, InputPadder)
    for i in range(HEADS):
        runner(CASES[0])
        largest = runner.answers[i].abs().max().item()
        weights.scale(f"block.{i}.conv.2.0.weight", FLOW / largest)
        weights.scale(f"block.{i}.conv.2.0.bias", 0.2)
    runner(CASES[0])
    # The residual is the hyperbolic tangent of half of it.
    weights.scale("unet.conv.weight", 2 * RESIDUAL / runner.logits[-1].std().item())
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
    without_timm()
    torch.Tensor.cuda = lambda self: self
    for name in VERSIONS:
        run(Path(sys.argv[2]), name)
