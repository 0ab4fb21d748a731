"""What the scripts for all families share: weights and pictures that the tests make again from
their names, and the files that the tests read.

Nothing of the authors' code or weights is stored: a weight is a hash of its name and place, scaled.
"""

import importlib
import sys
import types
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file

torch.set_num_threads(1)

# Values of each output that are kept.
KEPT = 250
# Steps from one kept value to the next: a prime, so that all channels and places are met.
STEP = 7919


def hashed(name: str, count: int) -> np.ndarray:
    """`count` values of -1 to 1, the same on every machine: FNV-1a of the name, then splitmix64."""
    seed = 0xCBF29CE484222325
    for byte in name.encode():
        seed = (seed ^ byte) * 0x100000001B3 % 2**64
    with np.errstate(over="ignore"):
        x = np.uint64(seed) + np.arange(1, count + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
        x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        x = x ^ (x >> np.uint64(31))
    return (x >> np.uint64(40)).astype(np.float32) / np.float32(2**23) - np.float32(1)


class Weights:
    """Sets a module's parameters from their names; `spans` says offset and gain of each."""

    def __init__(self, module: torch.nn.Module):
        self.module = module
        self.spans = {name: self.first_span(name, value) for name, value in module.state_dict().items()}
        for name in self.spans:
            self.set(name)

    @staticmethod
    def first_span(name: str, value: torch.Tensor) -> tuple[float, float]:
        if name.endswith("beta"):
            return 0.2, 0.1
        if "norm" in name and name.endswith("weight"):
            return 1.0, 0.1
        if value.dim() in (2, 4):
            # uniform with the deviation that keeps the size of activations behind a leaky ReLU
            fan_in = value[0].numel()
            return 0.0, float(np.sqrt(6 / (1 + 0.2**2) / fan_in))
        if "prelu" in name or name.endswith(".1.weight"):
            return 0.2, 0.1
        return 0.0, 0.05

    def set(self, name: str) -> None:
        offset, gain = self.spans[name]
        value = self.module.state_dict()[name]
        values = np.float32(offset) + np.float32(gain) * hashed(name, value.numel())
        value.copy_(torch.from_numpy(values).reshape(value.shape))

    def scale(self, name: str, factor: float) -> None:
        offset, gain = self.spans[name]
        self.spans[name] = offset, float(np.float32(gain * factor))
        self.set(name)

    def write(self, path: Path) -> None:
        """A line a tensor: name, sizes, offset, gain."""
        state = self.module.state_dict()
        lines = [
            f"{name} {','.join(map(str, state[name].shape))} {offset!r} {np.float32(gain)!s}"
            for name, (offset, gain) in self.spans.items()
        ]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("\n".join(lines) + "\n")


def without_readers() -> None:
    """Lets modules be imported that import what reads picture files."""
    for missing in ("imageio", "PIL", "cv2"):
        try:
            importlib.import_module(missing)
        except ImportError:
            stub = types.ModuleType(missing)
            stub.imread = stub.imwrite = stub.Image = stub.ImageFile = types.SimpleNamespace()
            sys.modules[missing] = stub


def picture(height: int, width: int, moved: float) -> torch.Tensor:
    """[1, 3, height, width] of waves, 0.1 to 0.9; `moved` pixels to the right and half as many down."""
    y, x = np.mgrid[:height, :width].astype(np.float64)
    x, y = x - moved, y - moved / 2
    planes = [
        0.5 + 0.2 * np.sin(0.19 * x + c) + 0.2 * np.cos(0.13 * y - 0.05 * x + 2 * c) for c in range(3)
    ]
    return torch.from_numpy(np.stack(planes)[None].astype(np.float32))


def kept(values: torch.Tensor) -> torch.Tensor:
    """Some of the values of a [1, c, h, w] tensor, counted as [h, w, c]."""
    flat = values[0].permute(1, 2, 0).reshape(-1)
    return flat[torch.arange(min(KEPT, len(flat))) * STEP % len(flat)].clone()


def write_cases(path: Path, cases: list[dict[str, torch.Tensor]]) -> None:
    tensors = {f"{i}.{k}": v.contiguous() for i, case in enumerate(cases) for k, v in case.items()}
    save_file(tensors, path)
