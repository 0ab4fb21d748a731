"""What goes further than its own width, as balls do, and arrives at the phase where no other hypothesis has it.

The twin of src/kernels/hypotheses/arrivals.rs, where the rules are told; in whole numbers as there.
"""

import torch

# Samples of luma that a cell is wide, and parts of a sample at which it is looked at.
SAMPLES, WHOLE = 4, 16
# What differs by less is the same motion, and both directions agree to this, in cells.
APART, TRUST = 0.7, 1.0
# A code's difference in all of a cell's samples.
CODE = WHOLE**2 * SAMPLES**2
# A thing costs at most this share of what the motion chosen does at its places; what a motion explains leaves less than this one.
SHARE, EXPLAINED = (7, 10), (1, 2)
BETTER, VARIED = 3 * CODE, 2 * CODE
# No arrival; bits that tell whose motion one is, below those that tell how well both directions agree.
NONE, SOURCE_BITS, AGREEMENT = (1 << 32) - 1, 24, 128


def arrived(a, b, found, errors, flow, t, standing):
    """The flow [B, 4, h, w] chosen before, or that of what arrives at the phases t [B, 1, h, w].

    a, b luma [B, 1, H, W] of -0.5 to 0.5; found [B, 4, h, w] in cells; errors [B, 2, h, w]: how far the other direction's
    motion is from being the opposite of each one's; standing [B, 1, h, w]: whether edges stand still there.
    """
    arrivals = carried(found, errors, flow, t)
    batch, y, x = (arrivals != NONE).nonzero(as_tuple=True)
    if not len(batch):
        return flow
    source = arrivals[batch, y, x] & ((1 << SOURCE_BITS) - 1)
    way, cell = source % 2, source // 2
    of = found[batch, :, cell // found.shape[3], cell % found.shape[3]].view(-1, 2, 2)
    motion = torch.where(way[:, None] == 0, of[:, 0], -of[:, 1])
    chosen, t = flow[batch, :, y, x], t[batch, 0, y, x][:, None]
    start, end, ground = -t * motion, (1 - t) * motion, chosen[:, 2:] - chosen[:, :2]
    left, right = (lambda by, p=p: samples(p, batch, y, x, by) for p in (a, b))
    cost = lambda start, end: (left(start) - right(end)).abs().sum(1)
    along = cost(start, end)
    explains = lambda other: (SHARE[1] * along < SHARE[0] * other) & (along + BETTER < other)
    stands = (ground == 0).all(1) & standing[batch, 0, y, x]

    def explained(cost, shown, flat):
        varied = variation(shown)
        return torch.where(varied > VARIED, EXPLAINED[1] * cost < EXPLAINED[0] * varied, flat)

    def goes(by, flat):
        return explained(cost(start - by, start), right(start), flat), explained(cost(end, end + by), left(end), flat)

    (p, q), (r, s) = goes(motion, stands), goes(ground, torch.zeros_like(stands))
    in_front = (along + BETTER < cost(chosen[:, :2], chosen[:, 2:])) & ~stands | ~(p | q) & ~(r & s)
    taken = explains(cost(start, start + ground)) & explains(cost(end - ground, end)) & in_front
    flow = flow.clone()
    flow[batch[taken], :, y[taken], x[taken]] = torch.cat((start, end), 1)[taken]
    return flow


def carried(found, errors, flow, t):
    """What arrives in each cell [B, h, w]: of all sources the one whose directions agree best, then the first one."""
    count, _, h, w = found.shape
    ys, xs = torch.meshgrid(*(torch.arange(n, device=found.device) for n in (h, w)), indexing="ij")
    chosen = flow[:, 2:] - flow[:, :2]
    out = torch.full((count, h * w), NONE, device=found.device)
    for way in (0, 1):
        by, share = found[:, 2 * way : 2 * way + 2], (1 - t if way else t)[:, 0]
        rank = (errors[:, way] * AGREEMENT).long() << SOURCE_BITS | 2 * (ys * w + xs) + way
        comes = ((by**2).sum(1) >= APART**2) & (errors[:, way] <= TRUST)
        first = [(at + share * by[:, c]).floor().long() for at, c in ((ys, 1), (xs, 0))]
        for i in range(4):
            y, x = first[0] + i // 2, first[1] + i % 2
            inside = (y >= 0) & (y < h) & (x >= 0) & (x < w)
            to = (y.clamp(0, h - 1) * w + x.clamp(0, w - 1)).flatten(1)
            there = chosen.flatten(2).gather(2, to[:, None].expand(-1, 2, -1)).view_as(by)
            apart = ((there - (-by if way else by)) ** 2).sum(1) > APART**2
            key = torch.where(comes & inside & apart, rank, NONE)
            out.scatter_reduce_(1, to, key.flatten(1), "amin")
    return out.view(count, h, w)


def samples(luma, batch, y, x, by):
    """Samples [n, 16] of cells moved by (x, y) cells [n, 2], in whole numbers, between the samples that are there."""
    codes = ((luma[:, 0] + 0.5) * 255).round().long()
    taps = []
    for cell, by, size in ((y, by[:, 1], codes.shape[1]), (x, by[:, 0], codes.shape[2])):
        at = SAMPLES * WHOLE * cell + (SAMPLES * WHOLE * by).round().long()
        at = (at[:, None] + WHOLE * torch.arange(SAMPLES, device=at.device)).clamp(0, WHOLE * (size - 1))
        taps.append((at // WHOLE, (at // WHOLE + 1).clamp(max=size - 1), at % WHOLE))
    (above, below, down), (before, behind, across) = taps
    at = lambda y, x: codes[batch[:, None, None], y[:, :, None], x[:, None, :]]
    across = across[:, None]
    row = lambda y: (WHOLE - across) * at(y, before) + across * at(y, behind)
    down = down[:, :, None]
    return ((WHOLE - down) * row(above) + down * row(below)).flatten(1)


def variation(samples):
    """Sum of the samples' differences from their mean."""
    return (samples - samples.sum(1, keepdim=True) // SAMPLES**2).abs().sum(1)
