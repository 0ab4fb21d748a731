"""Synthetic motion: layers of texture that move over each other, with their exact flow.

A scene is a background and some shapes, each with its own affine path. A frame at time t shows
every layer's texture under A(t); the flow at phase t to time s is A(s) A(t)^-1 x - x of the layer
that is in front there.
"""

import cv2
import numpy as np

# Displacement over the whole interval in pixels, drawn log-uniformly.
LEAST, MOST = 0.3, 72.0


def procedural(rng, size):
    """Texture without any picture: stripes, checks or noise of several octaves."""
    kind = rng.integers(3)
    ys, xs = np.mgrid[0:size, 0:size].astype(np.float32)
    if kind == 0:
        a = rng.uniform(0, np.pi)
        wave = np.sin((xs * np.cos(a) + ys * np.sin(a)) * 2 * np.pi / rng.uniform(5, 60))
        y = 128 + rng.uniform(20, 110) * (wave if rng.random() < 0.5 else np.sign(wave))
    elif kind == 1:
        p = rng.integers(6, 50)
        y = 128 + rng.uniform(20, 110) * (((xs // p + ys // p) % 2) * 2 - 1)
    else:
        y = np.full((size, size), 128, np.float32)
        for octave in range(2, 8):
            n = max(2, size >> octave)
            noise = rng.normal(0, 1, (n, n)).astype(np.float32)
            y += cv2.resize(noise, (size, size), interpolation=cv2.INTER_CUBIC) * rng.uniform(4, 40)
    u, v = rng.uniform(70, 186, 2)
    tint = (y - 128) * rng.uniform(-0.3, 0.3)
    return np.clip(np.dstack([y, u + tint, v - tint]), 0, 255).astype(np.uint8)


def shape(rng, size):
    """A soft mask, 0..255: blob, polygon, letters, or thin lines."""
    mask = np.zeros((size, size), np.uint8)
    c = size / 2
    kind = rng.random()
    if kind < 0.35:
        r = size * rng.uniform(0.06, 0.28)
        axes = (int(r), int(r * rng.uniform(0.4, 1.0)))
        cv2.ellipse(mask, (int(c), int(c)), axes, rng.uniform(0, 180), 0, 360, 255, -1, cv2.LINE_AA)
    elif kind < 0.75:
        n = rng.integers(3, 12)
        angle = np.sort(rng.uniform(0, 2 * np.pi, n))
        r = size * rng.uniform(0.06, 0.35) * rng.uniform(0.4, 1.2, n)
        points = np.stack([c + r * np.cos(angle), c + r * np.sin(angle)], 1).astype(np.int32)
        cv2.fillPoly(mask, [points], 255, cv2.LINE_AA)
    elif kind < 0.87:
        text = "".join(chr(rng.integers(48, 123)) for _ in range(rng.integers(1, 8)))
        scale = rng.uniform(0.6, 4)
        cv2.putText(mask, text, (int(size * 0.25), int(c)), int(rng.integers(0, 8)), scale, 255, int(rng.integers(1, 9)), cv2.LINE_AA)
    else:
        for _ in range(rng.integers(1, 8)):
            p = (c + rng.uniform(-0.3, 0.3, 4) * size).astype(int)
            cv2.line(mask, tuple(p[:2].tolist()), tuple(p[2:].tolist()), 255, int(rng.integers(1, 9)), cv2.LINE_AA)
    if rng.random() < 0.25:
        mask = cv2.GaussianBlur(mask, (0, 0), rng.uniform(0.8, 5))
    return mask


def affine(angle, zoom, shear, x, y, cx, cy):
    """3x3: about (cx, cy) turn, zoom, shear; then move by (x, y)."""
    c, s = np.cos(angle) * zoom, np.sin(angle) * zoom
    m = np.array([[c, -s + shear, 0], [s, c, 0], [0, 0, 1]])
    to = np.array([[1, 0, cx + x], [0, 1, cy + y], [0, 0, 1]])
    back = np.array([[1, 0, -cx], [0, 1, -cy], [0, 0, 1]])
    return to @ m @ back


class Path:
    """An affine motion through time; even but for a small acceleration in some."""

    def __init__(self, rng, size, centre, still=0.08):
        magnitude = np.exp(rng.uniform(np.log(LEAST), np.log(MOST))) * size / 256
        if rng.random() < still:
            magnitude = 0.0
        direction = rng.uniform(0, 2 * np.pi)
        self.move = magnitude * np.array([np.cos(direction), np.sin(direction)])
        calm = min(1.0, magnitude / 20)
        self.turn = rng.normal(0, 0.08) * calm if rng.random() < 0.5 else 0.0
        self.zoom = rng.normal(0, 0.06) * calm if rng.random() < 0.5 else 0.0
        self.shear = rng.normal(0, 0.03) * calm if rng.random() < 0.2 else 0.0
        self.bend = rng.normal(0, 0.08) if rng.random() < 0.3 else 0.0
        self.centre = centre
        self.start = rng.uniform(-0.5, 0.5, 2)

    def at(self, t):
        s = t + self.bend * t * (1 - t)
        x, y = self.start + self.move * (s - 0.5)
        return affine(self.turn * (s - 0.5), np.exp(self.zoom * (s - 0.5)), self.shear * s, x, y, *self.centre)


def scene(rng, texture, size, t):
    """Frames at 0, t and 1 as [S, S, 3] YUV and the flow at t, [S, S, 4]."""
    big = size * 3 // 2
    margin = (big - size) // 2
    layers = []
    for k in range(1 + rng.integers(0, 6)):
        image = procedural(rng, big) if rng.random() < 0.12 else texture(rng, big)
        if k == 0:
            place = np.array([[1, 0, -margin], [0, 1, -margin], [0, 0, 1.0]])
            mask, path = None, Path(rng, size, (size / 2, size / 2))
        else:
            mask = shape(rng, big)
            centre = rng.uniform(0, size, 2)
            place = np.array([[1, 0, centre[0] - big / 2], [0, 1, centre[1] - big / 2], [0, 0, 1.0]])
            path = Path(rng, size, centre)
        layers.append((image, mask, place, path))
    frames = [composite(layers, size, s) for s in (0.0, t, 1.0)]
    return frames, flow(layers, size, t)


def warped(image, matrix, size, border):
    return cv2.warpAffine(image, matrix[:2], (size, size), flags=cv2.INTER_LINEAR, borderMode=border)


def composite(layers, size, t):
    out = None
    for image, mask, place, path in layers:
        m = path.at(t) @ place
        picture = warped(image, m, size, cv2.BORDER_REFLECT_101)
        if mask is None:
            out = picture.astype(np.float32)
        else:
            alpha = warped(mask, m, size, cv2.BORDER_CONSTANT)[..., None].astype(np.float32) / 255
            out += (picture - out) * alpha
    return out


def flow(layers, size, t):
    ys, xs = np.mgrid[0:size, 0:size].astype(np.float32)
    out = np.zeros((size, size, 4), np.float32)
    for _, mask, place, path in layers:
        now = path.at(t)
        back = np.linalg.inv(now)
        own = np.empty_like(out)
        for k, s in ((0, 0.0), (2, 1.0)):
            m = path.at(s) @ back
            own[..., k] = m[0, 0] * xs + m[0, 1] * ys + m[0, 2] - xs
            own[..., k + 1] = m[1, 0] * xs + m[1, 1] * ys + m[1, 2] - ys
        if mask is None:
            out = own
        else:
            front = warped(mask, now @ place, size, cv2.BORDER_CONSTANT) > 127
            out[front] = own[front]
    return out
