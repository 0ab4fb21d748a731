"""Averaged weights of a run -> a safetensors file (f16), as the Rust network reads them.

    python training/export.py RUN -o models/balanced.safetensors

RUN is the folder that train.py writes, or a checkpoint in it.
"""

import argparse
from pathlib import Path

import torch
from safetensors.torch import save_file

from model import VARIANTS, Network

def export(state, config, path):
    expected = Network(config).state_dict()
    missing = sorted(expected.keys() - state.keys())
    if missing:
        raise SystemExit(f"no {', '.join(missing)} in the checkpoint")
    tensors = {k: state[k].to(torch.float16).contiguous() for k in expected}
    for name, tensor in tensors.items():
        if tensor.shape != expected[name].shape:
            raise SystemExit(f"{name} is {tuple(tensor.shape)}, expected {tuple(expected[name].shape)}")
        if not torch.isfinite(tensor).all():
            raise SystemExit(f"{name} does not fit into f16")
    # levels of luma begin at half the size there
    for name, number in ("finest", config.finest - 1), ("lines", config.lines):
        tensors[f"search.{name}"] = torch.tensor([number], dtype=torch.float16)
    save_file(tensors, path)
    print(f"{path}: {sum(t.numel() for t in tensors.values())} weights")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path, help="folder or checkpoint of train.py")
    parser.add_argument("-o", "--output", type=Path, required=True)
    arguments = parser.parse_args()
    path = arguments.run / "checkpoint.pt" if arguments.run.is_dir() else arguments.run
    checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    export(checkpoint["average"], VARIANTS[checkpoint["variant"]], arguments.output)


if __name__ == "__main__":
    main()
