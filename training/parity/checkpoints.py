"""Writes small files in every format that people's checkpoints come in, for the tests of the readers.

    python training/parity/checkpoints.py tests/data/checkpoints

Each holds the same tensors; `a.weight` is [2, 3, 1, 1] of 0, 1, ... 5.
"""

import struct
import sys
from pathlib import Path

import torch
from torch import nn


class Part(nn.Module):
    def __init__(self):
        super().__init__()
        self.a = nn.Conv2d(3, 2, 1)
        with torch.no_grad():
            self.a.weight.copy_(torch.arange(6.0).reshape(2, 3, 1, 1))
            self.a.bias.copy_(torch.tensor([0.5, -0.25]))

    def forward(self, x):
        return self.a(x)


class Whole(nn.Module):
    def __init__(self):
        super().__init__()
        self.parts = nn.ModuleList([Part(), Part()])

    def forward(self, x):
        for part in self.parts:
            x = part(x)
        return x


def trained() -> dict:
    """What InterpAny-Clearer's RIFE stands next to in its checkpoints."""
    part = Part()
    optimizer = torch.optim.AdamW(part.parameters(), lr=1e-4)
    part(torch.ones(1, 3, 2, 2)).sum().backward()
    optimizer.step()
    return {"optimizer": optimizer.state_dict(), "epoch": None, "step": 3}


def pickles(folder: Path) -> None:
    state = Part().state_dict()
    torch.save(state, folder / "plain.pth")
    torch.save({f"module.{k}": v for k, v in state.items()}, folder / "module.pkl")
    torch.save({"epoch": 3, "state_dict": state, "optimizer": {"lr": 1e-4}}, folder / "wrapped.pth")
    torch.save({"model": {f"module.{k}": v for k, v in state.items()}, **trained()}, folder / "trained.pkl")
    torch.save({k: v.half() for k, v in state.items()}, folder / "half.pth")
    torch.save({k: v.bfloat16() for k, v in state.items()}, folder / "bfloat.pth")
    # transposed in memory, and a part of a larger storage
    storage = torch.arange(-3.0, 6.0)
    weight = torch.arange(6.0).reshape(2, 3, 1, 1).permute(1, 0, 2, 3).contiguous().permute(1, 0, 2, 3)
    torch.save({"a.weight": weight, "a.bias": state["a.bias"], "b": storage[3:9]}, folder / "strided.pth")
    torch.save(state, folder / "old.pth", _use_new_zipfile_serialization=False)
    torch.jit.script(Whole()).save(folder / "script.pt")


LAYERS = """7767517
4 4
Input                    in0       0 1 in0
Convolution              conv_0    1 1 in0 1 0=4 1=3 3=2 4=1 5=1 6=252 9=2 -23310=1,2.0e-01
Convolution              conv_1    1 1 1 2 0=8 1=3 3=2 4=1 5=1 6=288
Deconvolution            deconv_0  1 1 2 3 0=5 1=4 3=2 4=1 5=1 6=640
"""


def ncnn(folder: Path, half: bool) -> None:
    folder.mkdir(exist_ok=True)
    (folder / "flownet.param").write_text(LAYERS)
    with (folder / "flownet.bin").open("wb") as out:
        for outputs, count in ((4, 252), (8, 288), (5, 640)):
            weights = [i / 64 for i in range(count)]
            out.write(struct.pack("<I", 0x01306B47 if half else 0))
            out.write(struct.pack(f"<{count}{'e' if half else 'f'}", *weights))
            out.write(struct.pack(f"<{outputs}f", *range(outputs)))


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    pickles(folder)
    ncnn(folder / "ncnn", half=False)
    ncnn(folder / "ncnn-half", half=True)
