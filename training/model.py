"""The embedded network: the PyTorch twin of src/network/embedded, same names.

Everything is NCHW here, [H, W, C] in Rust. Flow is in pixels of the level it belongs
to, channels (to left x, to left y, to right x, to right y). The motion is found by a search (search.py); the network
chooses among what it suggests at the phase, improves that, and says which side to trust.

A phase t is a number for all, or a distance map: for each cell the share of its way that is done,
[B, 1, H/8, W/8] of the picture.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn

from arrivals import SAMPLES, arrived

# Largest displacements that are compared: of features in cells, of luma in samples, four of which are a cell.
RADIUS, LUMA_RADIUS = 2, 2
# Mean difference of luma (of range 1) below which there is more noise than texture.
LUMA_NOISE = 0.01
# Rounds of the fixed point that carries motion from a picture to the phase.
ROUNDS = 3
# Standing still has to explain a place this much better (mean difference of luma) than the motion found.
STILL_MARGIN = 0.5 / 255
# Where no edge stands still, by this much of what it leaves unexplained, too, and so much at most.
STILL_SHARE, STILL_MOST = 2, 12 / 255
# An edge that stands still: codes of a step in both pictures, by which one of its sides may differ; how many of them in 3x3 cells count.
STANDING_STEP, STANDING_ALIKE, LEAST_STANDING = 20, 6, 2
# Brings that mean to the range of the other inputs.
CONTRAST = 8.0
# Changes that a stage makes: flow, mask, and the two gates; a decoder has a third one, of the acceleration.
CHANGE = 4 + 1 + 2
# Flow, displacement of features, mask, phase; displacement of luma, contrast.
STATE = 4 + 2 + 1 + 1 + 2 + 1
# What a decoder learns of its hypotheses: differences of luma under each, inconsistency of either side; acceleration,
# and whether it is known.
CUES = 3 + 2 + 2 + 1
# An acceleration counts up to this share of the motion, plus so many cells.
MOST_ACCELERATION, LEAST_ACCELERATION = 0.5, 0.25
# A feature's norm below this (its square root) counts as "no texture".
NORM_EPSILON = 1e-2


@dataclass(frozen=True)
class Config:
    """Channels: features at a quarter of the picture's size, at an eighth, the decoder, what it hands
    to the refiner. The finest level that is searched for motion: pictures of 1 / 2**finest of the size. The lines
    above which the plugin shows it pictures at half their size."""

    stem: int
    features: int
    width: int
    up: int
    finest: int = 2
    lines: int = 1440


VARIANTS = {
    "fast": Config(8, 16, 16, 7, lines=720),
    "balanced": Config(16, 24, 32, 11),
    "high": Config(16, 24, 32, 11, finest=1),
}


def lrelu(x):
    return F.leaky_relu(x, 0.1)


def half(x):
    """2x2 mean; an odd side repeats its edge."""
    h, w = x.shape[-2:]
    return F.avg_pool2d(F.pad(x, (0, w & 1, 0, h & 1), mode="replicate"), 2)


def double(x, h, w):
    """Bilinear 2x with half-pixel centres, cropped to h x w."""
    return F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)[..., :h, :w]


def everywhere(t, like):
    """A phase as a plane."""
    return t if torch.is_tensor(t) else torch.full_like(like, t)


def finer(t, h, w):
    """A phase for twice the cells each way."""
    return double(t, h, w) if torch.is_tensor(t) else t


def warp(x, flow):
    """x sampled at (position + flow), coordinates clamped to the picture."""
    h, w = x.shape[-2:]
    ys, xs = torch.meshgrid(
        torch.arange(h, dtype=flow.dtype, device=flow.device),
        torch.arange(w, dtype=flow.dtype, device=flow.device),
        indexing="ij",
    )
    gx = (xs + flow[:, 0]) * (2 / max(w - 1, 1)) - 1
    gy = (ys + flow[:, 1]) * (2 / max(h - 1, 1)) - 1
    grid = torch.stack((gx, gy), -1)
    return F.grid_sample(x, grid, mode="bilinear", padding_mode="border", align_corners=True)


def normalise(x):
    return x * torch.rsqrt((x * x).sum(1, keepdim=True) + NORM_EPSILON)


def displaced(a, b, t, radius, score):
    """Scores of all displacements d in [-radius, radius]^2, row-major (y, then x): [B, n, h, w].

    a, b: both sides, `radius` pixels more on every edge; score(left, right) -> [B, 1, h, w]. A pixel at phase t that moves by
    d came from -t*d and goes to (1-t)*d; the split is rounded (halves upwards) so that only whole pixels are read.
    """
    p = radius
    h, w = (n - 2 * p for n in a.shape[-2:])
    scores = []
    for dy in range(-p, p + 1):
        for dx in range(-p, p + 1):
            one = None
            for ay, ax, here in splits(dy, dx, t):
                by, bx = dy - ay, dx - ax
                va = a[..., p - ay : p - ay + h, p - ax : p - ax + w]
                vb = b[..., p + by : p + by + h, p + bx : p + bx + w]
                value = score(va, vb)
                one = value if one is None else torch.where(here, value, one)
            scores.append(one)
    return torch.cat(scores, 1)


def splits(dy, dx, t):
    """What of a displacement (dy, dx) falls to the left side, and where that is so: (y, x, [B, 1, h, w] bool) each; a number t
    has one, for everywhere."""
    if not torch.is_tensor(t):
        return [(split(dy, t), split(dx, t), None)]
    parts = lambda d: range(min(d, 0), max(d, 0) + 1)
    ay, ax = split(dy, t), split(dx, t)
    places = ((y, x, (ay == y) & (ax == x)) for y in parts(dy) for x in parts(dx))
    return [(y, x, here) for y, x, here in places if here.any()]


def split(d, t):
    share = (t * d + 0.5) // 1
    return share if torch.is_tensor(share) else int(share)


def correlate(a, b, t, radius):
    """Products of both sides' features for all displacements, see `displaced`. Outside the picture a score is 0."""
    a, b = (F.pad(x, (radius,) * 4) for x in (a, b))
    return displaced(a, b, t, radius, lambda a, b: (a * b).sum(1, keepdim=True))


def expected(scores, sharpness, radius):
    """Mean displacement (x, y) under softmax(sharpness * scores)."""
    p = torch.softmax(scores * sharpness, 1)
    o = torch.arange(-radius, radius + 1, dtype=scores.dtype, device=scores.device)
    n = len(o)
    p = p.view(p.shape[0], n, n, *p.shape[2:])
    dx = (p.sum(1) * o.view(1, n, 1, 1)).sum(1)
    dy = (p.sum(2) * o.view(1, n, 1, 1)).sum(1)
    return torch.stack((dx, dy), 1)


def along(d, t):
    """The displacement d of a whole interval as flow at phase t to both sides."""
    return torch.cat((-t * d, (1 - t) * d), 1)


def warped_luma(a, b, flow):
    """Luma [B, 1, H, W] with SAMPLES samples a cell, of both sides, warped by a flow [B, 4, h, w] in cells."""
    h, w = flow.shape[-2:]
    f = SAMPLES * F.interpolate(flow, scale_factor=SAMPLES, mode="bilinear", align_corners=False)
    extra = (0, SAMPLES * w - a.shape[-1], 0, SAMPLES * h - a.shape[-2])
    return [warp(F.pad(x, extra, mode="replicate"), f[:, k : k + 2]) for x, k in ((a, 0), (b, 2))]


def window(cells):
    """Mean over 3x3 cells."""
    return F.avg_pool2d(F.pad(cells, (1, 1, 1, 1), mode="replicate"), 3, 1)


def luma_scores(a, b, flow, t):
    """How well the luma of both sides agrees around a flow, at steps of a quarter of a cell.

    a, b [B, 1, H, W] with SAMPLES samples a cell; flow [B, 4, h, w] in cells. Both sides are warped,
    and every displacement's absolute difference is averaged over 3x3 cells. Answers [B, n, h, w]: 1 minus
    the difference relative to the mean over all displacements, and that mean [B, 1, h, w].
    """
    r = LUMA_RADIUS
    a, b = (F.pad(x, (r, r, r, r), mode="replicate") for x in warped_luma(a, b, flow))
    cells = window(displaced(a, b, t, r, lambda a, b: F.avg_pool2d((a - b).abs(), SAMPLES)))
    mean = cells.mean(1, keepdim=True)
    return 1 - cells / (mean + LUMA_NOISE), mean


def hypotheses(found, t):
    """Flows at t that the motion found suggests: of what is seen in the left picture, in the right one, none.

    found [B, 4, h, w] in cells (search.found). What is at x at t was at x - t*v in the left picture if v is the
    left one's motion there, and will be at x + (1-t)*v; three rounds of that fixed point.
    """
    ahead = back = None
    for _ in range(ROUNDS):
        ahead = found[:, :2] if ahead is None else ahead
        ahead = warp(found[:, :2], -t * ahead)
        back = found[:, 2:] if back is None else back
        back = warp(found[:, 2:], -(1 - t) * back)
    return along(ahead, t), along(-back, t), torch.zeros_like(found)


def difference(a, b, flow):
    """Mean absolute difference of luma under a flow, over 3x3 cells; a, b, flow as for luma_scores."""
    h, w = flow.shape[-2:]
    a, b = warped_luma(a, b, flow)
    return window(F.avg_pool2d((a - b).abs(), SAMPLES))


def chosen(a, b, found, past, t):
    """The hypothesis under which luma differs least, or what arrives, and what a decoder learns of all of them [B, CUES, h, w]."""
    flows = hypotheses(found, t)
    still = window(F.avg_pool2d((a - b).abs(), SAMPLES, ceil_mode=True, count_include_pad=False))
    costs = [difference(a, b, flows[0]), difference(a, b, flows[1]), still]
    standing = stands_still(a, b)
    more = torch.where(standing, 0, (STILL_SHARE * still).clamp(max=STILL_MOST))
    judged = torch.stack((costs[0], costs[1], still + STILL_MARGIN + more))
    index = judged.argmin(0, keepdim=True).expand(-1, -1, 4, -1, -1)
    flow = torch.stack(flows).gather(0, index)[0]
    ahead, back = found.split(2, 1)
    errors = [(by + warp(other, by)).norm(dim=1, keepdim=True) for by, other in ((ahead, back), (back, ahead))]
    errors = torch.cat(errors, 1)
    flow = arrived(a, b, found, errors, flow, everywhere(t, flow[:, :1]), standing)
    cues = CONTRAST * torch.cat(costs, 1), inconsistency(found, flow), acceleration(past, flow), past[:, 2:]
    return flow, torch.cat(cues, 1)


def stands_still(a, b):
    """Whether edges around a cell do: lie at one place in both pictures, the same way; [B, 1, h, w]. a, b as for luma_scores."""
    a, b = (((x + 0.5) * 255).round() for x in (a, b))
    alike = (a - b).abs() < STANDING_ALIKE
    edges = torch.zeros_like(alike)
    for axis in (2, 3):
        count = a.shape[axis] - 1
        here, there = ([x.narrow(axis, first, count) for x in (a, b, alike)] for first in (0, 1))
        rises = [torch.minimum(y[0] - x[0], y[1] - x[1]) for x, y in ((here, there), (there, here))]
        step = torch.maximum(*rises) > STANDING_STEP
        edges.narrow(axis, 0, count).logical_or_(step & (here[2] | there[2]))
    beyond = [-n % SAMPLES for n in edges.shape[2:]]
    cells = SAMPLES**2 * F.avg_pool2d(F.pad(edges.float(), (0, beyond[1], 0, beyond[0])), SAMPLES)
    return 9 * F.avg_pool2d(cells, 3, 1, 1) > LEAST_STANDING - 0.5


def acceleration(past, flow):
    """How much further a thing goes from left to right than it came from the frame before: [B, 2, h, w] in cells, limited.

    past [B, 3, h, w]: motion from left to the frame before it in cells x, y, as if that were as far away in time; 1, or all 0
    where it is not known.
    """
    motion = flow[:, 2:] - flow[:, :2]
    a = (motion + warp(past[:, :2], flow[:, :2])) * past[:, 2:]
    length = lambda x: torch.sqrt((x * x).sum(1, keepdim=True) + 1e-6)
    most = MOST_ACCELERATION * length(motion) + LEAST_ACCELERATION
    return a * (most / length(a)).clamp(max=1)


def bent(flow, change, a, t):
    """The flow of a motion that is a / 2 * t * (t - 1) ahead of an even one, as far as a gate lets it."""
    ahead = torch.sigmoid(change[:, CHANGE:]) * a * (t * (1 - t) / 2)
    return flow + torch.cat((ahead, ahead), 1)


def inconsistency(found, flow):
    """How far the motion found where a flow leads to, left and right, is from it: e / (1 + e), e in cells.

    Large on one side where that side's picture shows something else: occlusion.
    """
    motion = flow[:, 2:] - flow[:, :2]
    left = warp(found[:, :2], flow[:, :2]) - motion
    right = warp(found[:, 2:], flow[:, 2:]) + motion
    e = torch.cat([torch.sqrt((x * x).sum(1, keepdim=True) + 1e-6) for x in (left, right)], 1)
    return e / (1 + e)


class Match(nn.Module):
    """What both sides say about the flow between them: features at steps of a cell, luma at finer ones."""

    def __init__(self):
        super().__init__()
        self.sharpness = nn.Parameter(torch.tensor([12.0]))
        self.luma_sharpness = nn.Parameter(torch.tensor([15.0]))

    def forward(self, left, right, flow, t):
        a = normalise(warp(left[0], flow[:, :2]))
        b = normalise(warp(right[0], flow[:, 2:]))
        scores = correlate(a, b, t, RADIUS)
        with torch.no_grad():
            luma, contrast = luma_scores(left[1], right[1], flow, t)
        d = expected(scores, self.sharpness, RADIUS)
        e = expected(luma, self.luma_sharpness, LUMA_RADIUS) / SAMPLES
        return (a, b, scores, luma), (d, e, CONTRAST * contrast)


def moved(flow, change, d, e, t):
    """The flow after a stage: its own change, and as much of both displacements as it lets through."""
    gate = torch.sigmoid(change[:, 5:7])
    return flow + change[:, :4] + along(gate[:, :1] * d + gate[:, 1:] * e, t)


class Encoder(nn.Module):
    """View of a picture -> features at a quarter and at an eighth of the picture's size."""

    def __init__(self, c):
        super().__init__()
        self.stem = nn.Conv2d(6, c.stem, 3, 2, 1)
        self.down = nn.Conv2d(c.stem, c.features, 3, 2, 1)
        self.deep = nn.Conv2d(c.features, c.features, 3, 1, 1)

    def forward(self, view):
        fine = self.stem(view)
        coarse = self.down(lrelu(fine))
        return fine, coarse + self.deep(lrelu(coarse))


class Decoder(nn.Module):
    """From the motion found to flow and mask at an eighth of the picture's size."""

    def __init__(self, c):
        super().__init__()
        n = (2 * RADIUS + 1) ** 2 + (2 * LUMA_RADIUS + 1) ** 2
        self.match = Match()
        self.squeeze = nn.Conv2d(2 * c.features + n, c.features, 1)
        self.entry = nn.Conv2d(c.features + CUES + STATE, c.width, 3, 1, 1)
        self.res1 = nn.Conv2d(c.width, c.width, 3, 1, 1)
        self.res2 = nn.Conv2d(c.width, c.width, 3, 1, 1)
        self.head = nn.Conv2d(c.width, CHANGE + 1, 1)

    def forward(self, left, right, found, past, t):
        with torch.no_grad():
            flow, cues = chosen(left[1], right[1], found, past, t)
        seen, (d, e, contrast) = self.match(left, right, flow, t)
        q = lrelu(self.squeeze(torch.cat(seen, 1)))
        mask, phase = torch.zeros_like(contrast), everywhere(t, contrast)
        r = lrelu(self.entry(torch.cat((q, cues, flow, d, mask, phase, e, contrast), 1)))
        r = lrelu(r + self.res2(lrelu(self.res1(r))))
        o = self.head(r)
        return bent(moved(flow, o, d, e, t), o, cues[:, 5:7], t), mask + o[:, 4:5], r


class Refiner(nn.Module):
    """From an eighth to a quarter of the picture's size."""

    def __init__(self, c):
        super().__init__()
        n = (2 * RADIUS + 1) ** 2 + (2 * LUMA_RADIUS + 1) ** 2
        self.match = Match()
        self.expand = nn.Conv2d(c.width, 4 * (4 + 1 + c.up), 1)
        self.squeeze = nn.Conv2d(2 * c.stem + n + c.up + STATE, c.stem, 1)
        self.conv = nn.Conv2d(c.stem, c.stem, 3, 1, 1)
        self.head = nn.Conv2d(c.stem, CHANGE, 1)

    def forward(self, left, right, flow, mask, r, t):
        h, w = left[0].shape[-2:]
        o = F.pixel_shuffle(self.expand(r), 2)[..., :h, :w]
        flow = 2 * double(flow, h, w) + o[:, :4]
        mask, t = double(mask, h, w) + o[:, 4:5], finer(t, h, w)
        seen, (d, e, contrast) = self.match(left, right, flow, t)
        phase = everywhere(t, mask)
        x = lrelu(self.squeeze(torch.cat((*seen, e, contrast, o[:, 5:], flow, d, mask, phase), 1)))
        o = self.head(lrelu(x + self.conv(x)))
        return moved(flow, o, d, e, t), mask + o[:, 4:5]


class Network(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.config = config
        self.encoder = Encoder(config)
        self.decoder = Decoder(config)
        self.refiner = Refiner(config)
        self.initialise()

    def initialise(self):
        """Kaiming for all, a tenth for what ends a residual, nearly zero for the heads."""
        for m in self.modules():
            if isinstance(m, nn.Conv2d):
                nn.init.kaiming_normal_(m.weight, a=0.1)
                nn.init.zeros_(m.bias)
        with torch.no_grad():
            for m, s in (
                (self.encoder.deep, 0.5),
                (self.decoder.res2, 0.5),
                (self.decoder.head, 0.02),
                (self.refiner.conv, 0.5),
                (self.refiner.expand, 0.02),
                (self.refiner.head, 0.02),
            ):
                m.weight *= s
            self.decoder.head.bias[5:7] = -1.0
            self.refiner.head.bias[5:7] = -1.0

    def encode(self, view):
        """view [B, 6, H/2, W/2] -> (features, luma) for the refiner, (features, luma) for the decoder."""
        stem, coarse = self.encoder(view)
        return (stem, F.pixel_shuffle(view[:, :4], 2)), (coarse, view[:, :4].mean(1, keepdim=True))

    def estimate(self, left, right, found, past, t):
        """Flows at an eighth and at a quarter of the size, in their own pixels, and the mask's logit."""
        (left_fine, left), (right_fine, right) = left, right
        flow, mask, r = self.decoder(left, right, found, past, t)
        fine, mask = self.refiner(left_fine, right_fine, flow, mask, r, t)
        return [flow, fine], mask

    def forward(self, left, right, found, past, t):
        return self.estimate(self.encode(left), self.encode(right), found, past, t)


def view(y, u, v):
    """Planar 4:2:0 in 0..1 -> [B, 6, H/2, W/2]: luma space-to-depth, U, V, all minus a half."""
    return torch.cat((F.pixel_unshuffle(y, 2), u, v), 1) - 0.5


def weight_of_left(mask, t):
    """The mask's logit is relative to the weight that time alone gives; a distance map as fine as the mask."""
    return torch.sigmoid(mask + torch.log(torch.as_tensor((1 - t) / t)))


def synthesise(left, right, flow, mask, t):
    """Planes [B, C, H, W]; flow and mask's logit at quarter size."""
    h, w = left.shape[-2:]
    t = finer(t, *mask.shape[-2:])
    f = 4 * F.interpolate(flow, scale_factor=4, mode="bilinear", align_corners=False)[..., :h, :w]
    m = F.interpolate(weight_of_left(mask, t), scale_factor=4, mode="bilinear", align_corners=False)[..., :h, :w]
    return m * warp(left, f[:, :2]) + (1 - m) * warp(right, f[:, 2:]), f, m
