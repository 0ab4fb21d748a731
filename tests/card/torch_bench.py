#!/usr/bin/env python3
"""How long PyTorch takes for a new frame with the network of RIFE 4.25 and 4.26, beside tests/card/bench.rs.

    python3 tests/card/torch_bench.py [--sizes 1280x720,1920x1080] [--modes eager,compile] [--frames 20]

The same layers and sizes as tests/data/published/rife-4.25.txt, with random weights, in 16 bits, channels last. Of a new frame
one source picture is encoded and the motion estimated; its picture is timed beside. Medians, by CUDA's events. What a large product of
matrices takes tells how much the card multiplies at most as a library uses it, beside what bench.rs says of registers alone.
"""

import argparse
import statistics

import torch
from torch import nn
from torch.nn import functional as F

WIDTHS = [192, 128, 96, 64, 32]
SCALES = [16.0, 8.0, 4.0, 2.0, 1.0]
SLOPE = 0.2
# Lines above which motion is sought at half the resolution, as the element does.
MOST_LINES = 1440
PHASE = 0.5
WARM_UP = 5
# Rows and columns of the matrices.
MATRIX = 8192


def conv(inputs, outputs, stride):
    return nn.Sequential(nn.Conv2d(inputs, outputs, 3, stride, 1), nn.LeakyReLU(SLOPE, True))


class Head(nn.Module):
    def __init__(self):
        super().__init__()
        self.convs = nn.Sequential(conv(3, 16, 2), conv(16, 16, 1), conv(16, 16, 1))
        self.last = nn.ConvTranspose2d(16, 4, 4, 2, 1)

    def forward(self, picture):
        return self.last(self.convs(picture))


class Residual(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.conv = nn.Conv2d(width, width, 3, 1, 1)
        self.beta = nn.Parameter(torch.full((1, width, 1, 1), 0.2))
        self.relu = nn.LeakyReLU(SLOPE, True)

    def forward(self, x):
        return self.relu(self.conv(x) * self.beta + x)


class Block(nn.Module):
    def __init__(self, inputs, width):
        super().__init__()
        self.first = nn.Sequential(conv(inputs, width // 2, 2), conv(width // 2, width, 2))
        self.body = nn.Sequential(*[Residual(width) for _ in range(8)])
        self.last = nn.Sequential(nn.ConvTranspose2d(width, 4 * 13, 4, 2, 1), nn.PixelShuffle(2))

    def forward(self, x, flow, scale):
        x = resized(x, 1 / scale)
        if flow is not None:
            x = torch.cat((x, resized(flow, 1 / scale) / scale), 1)
        answer = resized(self.last(self.body(self.first(x))), scale)
        return answer[:, :4] * scale, answer[:, 4:5], answer[:, 5:]


def resized(x, factor):
    return F.interpolate(x, scale_factor=factor, mode="bilinear", align_corners=False) if factor != 1 else x


class Rife(nn.Module):
    def __init__(self, height, width, scale):
        super().__init__()
        self.encode = Head()
        self.blocks = nn.ModuleList(Block(15 if i == 0 else 28, c) for i, c in enumerate(WIDTHS))
        self.scales = [s / scale for s in SCALES]
        y, x = torch.meshgrid(torch.linspace(-1, 1, height), torch.linspace(-1, 1, width), indexing="ij")
        self.register_buffer("grid", torch.stack((x, y))[None])
        self.register_buffer("pixel", torch.tensor([2 / (width - 1), 2 / (height - 1)]).reshape(1, 2, 1, 1))

    def warp(self, x, flow):
        grid = (self.grid + flow * self.pixel).permute(0, 2, 3, 1)
        return F.grid_sample(x, grid, mode="bilinear", padding_mode="border", align_corners=True)

    def motion(self, left, left_features, right, phase):
        right_features = self.encode(right)
        flow = mask = passed = None
        seen = (left, right, left_features, right_features)
        for block, scale in zip(self.blocks, self.scales):
            if flow is None:
                flow, mask, passed = block(torch.cat((*seen, phase), 1), None, scale)
                continue
            warped = [self.warp(x, flow[:, :2] if i % 2 == 0 else flow[:, 2:]) for i, x in enumerate(seen)]
            more, mask, passed = block(torch.cat((*warped, phase, mask, passed), 1), flow, scale)
            flow = flow + more
        return flow, torch.sigmoid(mask)

    def picture(self, left, left_features, right, phase):
        flow, mask = self.motion(left, left_features, right, phase)
        return self.warp(left, flow[:, :2]) * mask + self.warp(right, flow[:, 2:]) * (1 - mask)


def median(frames, run):
    """Of so many runs, in milliseconds."""
    times = []
    for i in range(WARM_UP + frames):
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        begin.record()
        run()
        end.record()
        torch.cuda.synchronize()
        if i >= WARM_UP:
            times.append(begin.elapsed_time(end))
    return statistics.median(times)


def product_rate(frames):
    """TFLOP/s of a product of large matrices of 16 bits."""
    a, b = (torch.randn(MATRIX, MATRIX).half().cuda() for _ in range(2))
    return 2 * MATRIX**3 / median(frames, lambda: torch.matmul(a, b)) / 1e9


def measure(size, mode, frames):
    width, height = size
    scale = 0.5 if min(size) > MOST_LINES else 1.0
    multiple = int(4 * SCALES[0] / scale)
    width, height = (-(-n // multiple) * multiple for n in (width, height))
    torch.manual_seed(1)
    net = Rife(height, width, scale).half().cuda().eval().to(memory_format=torch.channels_last)
    picture = lambda c: torch.rand(1, c, height, width).half().cuda().contiguous(memory_format=torch.channels_last)
    left, right, phase = picture(3), picture(3), torch.full((1, 1, height, width), PHASE).half().cuda()
    features = net.encode(left)
    functions = [net.motion, net.picture]
    if mode != "eager":
        options = {} if mode == "compile" else {"mode": mode}
        torch._dynamo.reset()
        functions = [torch.compile(f, **options) for f in functions]
    return [median(frames, lambda: f(left, features, right, phase)) for f in functions]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", default="1280x720,1920x1080,3840x2160")
    parser.add_argument("--modes", default="eager,compile", help="eager, compile, or a mode of torch.compile")
    parser.add_argument("--frames", type=int, default=20)
    options = parser.parse_args()
    torch.backends.cudnn.benchmark = True
    with torch.inference_mode():
        rate = product_rate(options.frames)
    print(f"\n{torch.cuda.get_device_name()}, PyTorch {torch.__version__}: {rate:.0f} TFLOP/s of matrices of {MATRIX}x{MATRIX} in 16 bits\n")
    print("| size | RIFE 4.26, PyTorch f16 | ms, motion alone | ms, with the picture |")
    print("|---|---|---|---|", flush=True)
    with torch.inference_mode():
        for size in options.sizes.split(","):
            for mode in options.modes.split(","):
                motion, picture = measure([int(n) for n in size.split("x")], mode, options.frames)
                print(f"| {size} | {mode} | {motion:.2f} | {picture:.2f} |", flush=True)


if __name__ == "__main__":
    main()
