"""Tensors of every stage of the twin, for tests/network.rs.

    python training/golden.py

writes tests/data/network.safetensors (weights of a fixed seed, f16, with heads large enough that
every path matters) and tests/data/stages-*.safetensors: the views of two pictures, and what each
stage makes of them, [H, W, C] in f32.
"""

from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import save_file

import model
from export import export
from model import VARIANTS, Network, double, lrelu

DATA = Path(__file__).resolve().parent.parent / "tests/data"
# View's height and width, phase: odd sizes, even ones, a single cell, and a distance map.
CASES = {"odd": (25, 27, 0.25), "even": (16, 20, 0.5), "tiny": (4, 4, 0.75), "map": (25, 27, None)}


def network():
    torch.manual_seed(7)
    net = Network(VARIANTS["balanced"])
    with torch.no_grad():
        net.decoder.head.weight *= 20
        net.refiner.expand.weight *= 20
        net.refiner.head.weight *= 20
        for m in net.modules():
            if isinstance(m, torch.nn.Conv2d):
                m.bias.uniform_(-0.2, 0.2)
        net.decoder.match.sharpness.fill_(7.0)
        net.refiner.match.sharpness.fill_(15.0)
        net.decoder.match.luma_sharpness.fill_(9.0)
        net.refiner.match.luma_sharpness.fill_(11.0)
        for p in net.parameters():
            p.copy_(p.half().float())
    return net.eval()


def views(h, w):
    """A smooth texture and the same moved, plus noise that differs."""
    base = F.interpolate(torch.rand(1, 6, h // 2 + 4, w // 2 + 4), scale_factor=2, mode="bicubic")
    noise = 0.1 * torch.rand(2, 6, h, w)
    left, right = base[..., 3 : 3 + h, 2 : 2 + w], base[..., 2 : 2 + h, 4 : 4 + w]
    codes = (torch.cat((left, right)) + noise).clamp(0, 1).mul(255).round()
    return codes.div(255).sub(0.5).split(1)


def between(a, b, eighths):
    """Of whole numbers, halves upwards."""
    return a + (((b - a) * eighths + 4) >> 3)


def enlarged_in_steps(flow):
    """Flow [1, n, h, w] in cells as whole 128ths of a sample, for all samples of the cells (src/kernels/moved)."""
    steps = (model.SAMPLES * flow * 128).round().long()
    for axis in (2, 3):
        cells = steps.shape[axis]
        # from the centre of the cell before the first one on, in eighths of a cell
        at = 2 * torch.arange(model.SAMPLES * cells) + 1 + model.SAMPLES
        first, eighths = at // 8 - 1, (at % 8).view(-1, *([1] * (3 - axis)))
        taps = (first.clamp(min=0), (first + 1).clamp(max=cells - 1))
        steps = between(*(steps.index_select(axis, tap) for tap in taps), eighths)
    return steps


def moved_in_steps(luma, steps):
    """Luma warped as the plugin does (src/kernels/luma): in bytes, and with its steps of place and of value."""
    h, w = luma.shape[-2:]
    codes = (luma[0, 0] + 0.5).mul(255).add(0.5).floor().long()
    y, x = torch.meshgrid(torch.arange(h), torch.arange(w), indexing="ij")
    x = (128 * x + steps[0, 0]).clamp(0, 128 * (w - 1))
    y = (128 * y + steps[0, 1]).clamp(0, 128 * (h - 1))
    x0, y0, across, down = x >> 7, y >> 7, x & 127, y & 127
    x1, y1 = (x0 + 1).clamp(max=w - 1), (y0 + 1).clamp(max=h - 1)
    above, below = (codes[y, x0] * (128 - across) + codes[y, x1] * across for y in (y0, y1))
    mixed = above + (((below - above) * down + 64) >> 7) - 128 * 128
    return ((mixed + 4) >> 3)[None, None] / (16 * 255)


def warped_in_steps(a, b, flow):
    """In place of the twin's `warped_luma`, through which training needs gradients."""
    steps = enlarged_in_steps(flow)
    extra = (0, steps.shape[-1] - a.shape[-1], 0, steps.shape[-2] - a.shape[-2])
    pairs = ((a, steps[:, :2]), (b, steps[:, 2:]))
    return [moved_in_steps(F.pad(x, extra, mode="replicate"), f) for x, f in pairs]


def motion(h, w):
    """Smooth, and not quite the same both ways."""
    wave = F.interpolate(torch.randn(1, 4, h // 3 + 2, w // 3 + 2), size=(h, w), mode="bicubic")
    wave[:, 2:] = 0.3 * wave[:, 2:] - wave[:, :2]
    return wave


def encode_in_codes(net, view):
    """In place of the twin's `encode`: luma as bytes hold it."""
    (fine, whole), (coarse, half) = TWIN_ENCODE(net, view)
    whole, half = ((x + 0.5).mul(255).add(0.5).floor().div(255).sub(0.5) for x in (whole, half))
    return (fine, whole), (coarse, half)


TWIN_ENCODE = Network.encode


class Stages:
    """Collects tensors under the names that the Rust network gives to its stages."""

    def __init__(self):
        self.tensors = {}

    def add(self, name, x):
        self.tensors[name] = x[0].permute(1, 2, 0).contiguous()


def encode(net, view, stages):
    fine, coarse = net.encode(view)
    stages.add("encoder.stem.0", fine[0])
    stages.add("encoder.down.0", net.encoder.down(lrelu(net.encoder.stem(view))))
    stages.add("encoder.deep.0", coarse[0])
    return fine, coarse


def match(module, left, right, flow, t, level, name, stages):
    seen, (d, e, contrast) = module.match(left, right, flow, t)
    luma = torch.cat((seen[3], e, contrast), 1)
    for stage, x in zip(("left", "right", "scores", "luma"), (*seen[:3], luma)):
        stages.add(f"{name}.{stage}.{level}", x)
    return seen, d, e, contrast


def decode(net, left, right, found, past, t, stages):
    """The twin's `estimate`, opened up; `case` compares its result with the original's."""
    dec = net.decoder
    flow, cues = model.chosen(left[1], right[1], found, past, t)
    stages.add("decoder.chosen.0", flow)
    stages.add("decoder.cues.0", cues)
    seen, d, e, contrast = match(dec, left, right, flow, t, 0, "decoder", stages)
    q = lrelu(dec.squeeze(torch.cat(seen, 1)))
    mask, phase = torch.zeros_like(contrast), model.everywhere(t, contrast)
    entry = lrelu(dec.entry(torch.cat((q, cues, flow, d, mask, phase, e, contrast), 1)))
    stages.add("decoder.expected.0", d)
    stages.add("decoder.squeeze.0", q)
    stages.add("decoder.entry.0", entry)
    flow, mask, features = dec(left, right, found, past, t)
    stages.add("decoder.features.0", features)
    stages.add("decoder.state.0", torch.cat((flow, d, mask, phase), 1))
    return flow, mask, features


def refine(net, left, right, flow, mask, features, t, stages):
    ref = net.refiner
    h, w = left[0].shape[-2:]
    coarse, t = t, model.finer(t, h, w)
    detail = F.pixel_shuffle(ref.expand(features), 2)[..., :h, :w]
    stages.add("refiner.expand.0", detail)
    fine = 2 * double(flow, h, w) + detail[:, :4]
    seen, d, e, contrast = match(ref, left, right, fine, t, 0, "refiner", stages)
    phase = model.everywhere(t, mask.new_zeros(1, 1, h, w))
    before = torch.cat((fine, d, double(mask, h, w) + detail[:, 4:5], phase), 1)
    stages.add("refiner.before.0", before)
    squeezed = lrelu(ref.squeeze(torch.cat((*seen, e, contrast, detail[:, 5:], before), 1)))
    stages.add("refiner.squeeze.0", squeezed)
    stages.add("refiner.features.0", lrelu(squeezed + ref.conv(squeezed)))
    flow, mask = ref(left, right, flow, mask, features, coarse)
    stages.add("refiner.state.0", torch.cat((flow, d, mask, phase), 1))
    stages.add("motion.flow.0", 4 * flow)
    stages.add("motion.mask.0", model.weight_of_left(mask, t))
    return flow, mask


def case(net, h, w, t):
    stages = Stages()
    left, right = views(h, w)
    stages.add("left.view", left)
    stages.add("right.view", right)
    (fine_a, a), (fine_b, b) = encode(net, left, stages), net.encode(right)
    found = motion(*a[0].shape[-2:])
    t = torch.rand_like(found[:, :1]).clamp(0.01, 0.99) if t is None else t
    past = torch.cat((1.2 * found[:, 2:] + 0.3, torch.ones_like(found[:, :1])), 1) * (type(t) is float and t != 0.5)
    stages.add("found", found)
    stages.add("past", past)
    flow, mask = refine(net, fine_a, fine_b, *decode(net, a, b, found, past, t, stages), t, stages)
    flows, logit = net(left, right, found, past, t)
    assert torch.equal(flow, flows[-1]) and torch.equal(mask, logit)
    stages.tensors["phase"] = t[0, 0].contiguous() if torch.is_tensor(t) else torch.tensor([t])
    return stages.tensors


def main():
    torch.set_num_threads(1)
    DATA.mkdir(parents=True, exist_ok=True)
    model.warped_luma, Network.encode = warped_in_steps, encode_in_codes
    net = network()
    export(net.state_dict(), net.config, DATA / "network.safetensors")
    torch.manual_seed(8)
    for name, (h, w, t) in CASES.items():
        with torch.no_grad():
            save_file(case(net, h, w, t), DATA / f"stages-{name}.safetensors")


if __name__ == "__main__":
    main()
