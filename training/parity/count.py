"""Counts what the convolutions and linear layers of a 1280x720 picture cost, in GFLOP, two a product,
without running them.

    python training/parity/count.py INTERPANY EMA-VFI AMT

The arguments are checkouts as in interpany.py, ema.py and amt.py.
"""

import importlib
import sys
from collections.abc import Callable
from pathlib import Path

import torch

import amt
import ema
from common import without_readers

HEIGHT, WIDTH = 720, 1280


def count(net: torch.nn.Module, run: Callable[[torch.nn.Module], object]) -> float:
    counted = []

    def hook(module: torch.nn.Module, inputs: tuple, out: torch.Tensor) -> None:
        if isinstance(module, torch.nn.Linear):
            places = out.numel() // out.shape[-1]
        else:
            is_transposed = isinstance(module, torch.nn.ConvTranspose2d)
            size = (inputs[0] if is_transposed else out).shape
            places = size[0] * size[2] * size[3]
        counted.append(2 * module.weight.numel() * places)

    kinds = (torch.nn.Conv2d, torch.nn.ConvTranspose2d, torch.nn.Linear)
    for module in net.modules():
        if isinstance(module, kinds):
            module.register_forward_hook(hook)
    with torch.no_grad(), torch.device("meta"):
        run(net.to("meta").eval())
    return sum(counted) / 1e9


def empty(channels: int) -> torch.Tensor:
    return torch.empty(1, channels, HEIGHT, WIDTH)


def within(folders: list[Path]) -> None:
    """Modules of these folders, none that were imported before under the same names."""
    sys.path[:0] = [str(folder) for folder in folders]
    for name in list(sys.modules):
        if name.split(".")[0] in ("model", "networks", "utils", "config", "benchmark"):
            del sys.modules[name]


def without_values() -> None:
    """Lets the warps of RIFE and EMA-VFI run, too, on tensors that have none."""
    importlib.import_module("model.warplayer").device = "meta"


def rife(folder: Path) -> None:
    within([folder / "models" / "DI-RIFE"])
    without_values()
    for version, channels in (("IFNet_sdi", 1), ("IFNet_sdi_recur", 5)):
        net = importlib.import_module(f"model.{version}").IFNet_sdi(distill=False)
        gflop = count(net, lambda net: net(empty(6), [4, 2, 1], sdi_map=empty(channels)))
        print(f"{version}: {gflop:.0f} GFLOP")


def ema_vfi(folder: Path) -> None:
    within([folder])
    without_values()
    import config
    from model import feature_extractor, flow_estimation

    for name, (features, depths) in ema.VERSIONS.items():
        backbone, heads = config.init_model_config(F=features, depth=depths)
        net = flow_estimation(feature_extractor(**backbone), **heads)
        print(f"{name}: {count(net, lambda net: net(empty(6))):.0f} GFLOP")


def amts(folder: Path) -> None:
    within([folder])
    for name, version in amt.VERSIONS.items():
        module = importlib.import_module(f"networks.{version}")
        # What looks up is no layer; its table of all pairs would be large.
        module.BidirCorrBlock = lambda *_, **__: lambda a, b: [torch.empty(1, 196, *a.shape[2:])] * 2
        phase = torch.empty(1, 1, 1, 1, device="meta")
        gflop = count(module.Model(), lambda net: net(empty(3), empty(3), phase, eval=True))
        print(f"{name}: {gflop:.0f} GFLOP")


if __name__ == "__main__":
    without_readers()
    ema.without_timm()
    torch.Tensor.cuda = lambda self: self
    rife(Path(sys.argv[1]))
    ema_vfi(Path(sys.argv[2]))
    amts(Path(sys.argv[3]))
