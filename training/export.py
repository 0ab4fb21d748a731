"""Weights of the twin -> models/embedded.safetensors (f16), as the Rust network reads them.

    python training/export.py [RUN] [-o models/embedded.safetensors]

RUN is the folder that train.py writes, or a checkpoint in it: the averaged weights are taken.
Without it, the weights are the initial ones of a fixed seed.
"""

import argparse
from pathlib import Path

import torch
from safetensors.torch import save_file

from model import Network

HERE = Path(__file__).resolve().parent


def initial(seed=1):
    torch.manual_seed(seed)
    return Network().state_dict()


def load(path):
    """The averaged weights of a run."""
    path = Path(path)
    path = path / "checkpoint.pt" if path.is_dir() else path
    return torch.load(path, map_location="cpu", weights_only=True)["average"]


def export(state, path):
    expected = Network().state_dict()
    missing = sorted(expected.keys() - state.keys())
    if missing:
        raise SystemExit(f"no {', '.join(missing)} in the checkpoint")
    tensors = {k: state[k].to(torch.float16).contiguous() for k in expected}
    for name, tensor in tensors.items():
        if tensor.shape != expected[name].shape:
            raise SystemExit(f"{name} is {tuple(tensor.shape)}, expected {tuple(expected[name].shape)}")
        if not torch.isfinite(tensor).all():
            raise SystemExit(f"{name} does not fit into f16")
    save_file(tensors, path)
    print(f"{path}: {sum(t.numel() for t in tensors.values())} weights")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", nargs="?", help="folder or checkpoint of train.py; default: initial weights")
    parser.add_argument("-o", "--output", default=HERE.parent / "models/embedded.safetensors")
    arguments = parser.parse_args()
    state = load(arguments.run) if arguments.run else initial()
    export(state, arguments.output)


if __name__ == "__main__":
    main()
