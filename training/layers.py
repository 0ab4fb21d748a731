"""Synthetic motion: layers of texture that move over each other, with their exact flow.

A scene is a background and up to seven things before it, each with its own path. A layer's
homography H(s) takes its texture to where it is seen at phase s, so what is at x at phase t is at
H(s) H(t)^-1 x at phase s: the flow is exact, whatever the path.

Coordinates are pixels, the first one's centre at 0; pictures are Y, U, V in 0..255.
"""

import functools
from dataclasses import dataclass

import cv2
import numpy as np

# Displacement over the whole interval, log-uniform, in pixels of a picture of 720 lines;
# a crop of S lines takes S / 720 of it.
LEAST, MOST = 0.8, 256.0

# Shares of scenes.
HELD = 0.03  # nothing moves
CUT = 0.01  # the right frame is another picture
CAMERA = 0.5  # all that is in the scene moves along with the camera
OVERLAY = 0.12  # letters or lines that stay where they are
BLURRED = 0.12  # frames as a shutter sees them
# Shares of layers.
STILL = 0.08
REPEATED = 0.1
DEFOCUSED = 0.12
PROCEDURAL = 0.15
# Of the repeated ones: those that move by more than half a period.
AMBIGUOUS = 0.15

# Way over the interval (px) from which on a share of it is told.
MOVES = 0.1

# Moments that a motion-blurred frame is the mean of; odd, so that the middle one is the frame's own.
MOMENTS = 7
# Two moments are at most this far apart (px), or the blur would show as several edges.
MOMENT_STEP = 2.5


@dataclass
class Scene:
    """What a pair of frames and the one between them show.

    frames: [3, 3, S, S] f32, 0..255: at phases 0, t, 1; planes Y, U, V.
    before: [3, S, S], the frame before the left one, at phase -1.
    flow: [4, S, S] f32, on the grid of phase t, px: to the left frame x, y; to the right one x, y.
    visible: [2, S, S] bool, on the same grid: is what is seen at t also seen in the left frame,
        in the right one? What has left the picture is not.
    distance: [S, S] f32, on the same grid: share of the way that is done at t (see `distance`).
    cut: the right frame is another picture. There is no right answer then; frame and flow say
        "the nearer frame as it is, the left one at a tie", and `visible` says so, too.
    """

    frames: np.ndarray
    before: np.ndarray
    flow: np.ndarray
    visible: np.ndarray
    distance: np.ndarray
    cut: bool = False


def scene(rng, texture, size, t, most=MOST, uneven=False):
    """A random Scene of `size` lines; texture(rng, n) is a [n, n, 3] u8 picture in YUV. uneven: every layer is `eased`; there
    is no shutter then."""
    kind = rng.random()
    layers = invent(rng, texture, size, most, held=kind < HELD)
    blurred = rng.random() < BLURRED and not uneven
    if uneven:
        layers = [eased(layer, rng) for layer in layers]
    made = render(layers, size, t, shutter(rng, layers) if blurred else 0.0)
    return cut(made, texture(rng, size), t) if kind > 1 - CUT else made


def cut(made, other, t):
    """The scene with another picture, [S, S, 3], in place of its right frame."""
    right = other.transpose(2, 0, 1).astype(np.float32)
    left = made.frames[0]
    nearer = left if t <= 0.5 else right
    sides = np.array([t <= 0.5, t > 0.5])[:, None, None]
    return Scene(
        frames=np.stack([left, nearer, right]),
        before=made.before,
        flow=np.zeros_like(made.flow),
        visible=np.broadcast_to(sides, made.visible.shape),
        distance=np.full_like(made.distance, t),
        cut=True,
    )


# Motion


def moved(x, y):
    return np.array([[1.0, 0, x], [0, 1, y], [0, 0, 1]])


STAY = np.eye(3)


class Path:
    """A motion through time about `centre`, even but for a small bend.

    move: displacement over the whole interval, px. `rich`: turns, zooms, shears and tilts, too.
    """

    def __init__(self, rng, centre, length, rich=True):
        direction = rng.uniform(0, 2 * np.pi)
        self.centre, self.length = centre, length
        self.move = length * np.array([np.cos(direction), np.sin(direction)])
        # small motion has small turns
        calm = min(1.0, length / 20) * rich
        often = lambda share, sigma: rng.normal(0, sigma) * calm if rng.random() < share else 0.0
        self.turn, self.zoom, self.shear = often(0.5, 0.08), often(0.5, 0.06), often(0.2, 0.03)
        self.tilt = np.array([often(0.2, 3e-4), often(0.2, 3e-4)])
        # at most a quarter of these, as shares of the length: ahead of an even motion, and beside it
        self.ahead, self.beside = (rng.normal(0, 0.12, 2) if rng.random() < 0.3 else (0.0, 0.0))
        self.start = rng.uniform(-0.5, 0.5, 2)
        # how much of the bend was there before phase 0: what bends goes on doing so, more or less
        self.past = rng.normal(0.6, 0.7)

    def at(self, s):
        """Homography at phase s."""
        bend = s * (1 - s) * (self.past if s < 0 else 1)
        r = s + self.ahead * bend - 0.5
        x, y = self.start + self.move * r + self.beside * bend * np.array([-self.move[1], self.move[0]])
        zoom = np.exp(self.zoom * r)
        c, d = np.cos(self.turn * r) * zoom, np.sin(self.turn * r) * zoom
        p, q = self.tilt * r
        m = np.array([[c, self.shear * r - d, 0], [d, c, 0], [p, q, 1]])
        cx, cy = self.centre
        return moved(cx + x, cy + y) @ m @ moved(-cx, -cy)


@dataclass
class Layer:
    """picture: [h, w, 4] u8: Y, U, V times alpha, then alpha; place: where it is put at rest."""

    picture: np.ndarray
    place: np.ndarray
    paths: list
    endless: bool = False

    def at(self, s):
        """Texture to picture at phase s."""
        m = self.place
        for path in self.paths:
            m = path.at(s) @ m
        return m


class Eased(Layer):
    """A layer that is at phase s where the even one is at s ** power."""

    power = 1.0

    def at(self, s):
        return super().at(abs(s) ** self.power * (1 if s >= 0 else -1))


def eased(layer, rng):
    """The layer speeding up or slowing down on its way, by an exponent of 1/2 to 2, so that distance and time differ."""
    made = Eased(layer.picture, layer.place, layer.paths, layer.endless)
    made.power = 2 ** rng.uniform(-1, 1)
    return made


def length(rng, size, most):
    """Displacement in px: log-uniform, sometimes none."""
    if rng.random() < STILL:
        return 0.0
    return np.exp(rng.uniform(np.log(LEAST), np.log(most))) * size / 720


def distance(flow, t):
    """D = (V0t . V01) / |V01|^2 of flow [4, ...] at phase t, in 0..1; t where nothing moves.

    V0t is the way from the left frame to t, V01 the whole way to the right frame.
    """
    vx, vy = flow[2] - flow[0], flow[3] - flow[1]
    whole = vx * vx + vy * vy
    done = -(flow[0] * vx + flow[1] * vy)
    share = np.full_like(whole, t)
    np.divide(done, whole, out=share, where=whole > MOVES**2)
    return np.clip(share, 0, 1, out=share)


# What a scene is made of


def invent(rng, texture, size, most, held):
    """Layers of a random scene, the background first."""
    middle = (size / 2, size / 2)
    camera = [Path(rng, middle, length(rng, size, most))] if rng.random() < CAMERA else []
    # a layer and the camera together move by no more than the most
    left = max(LEAST, most - (camera[0].length * 720 / size if camera else 0))
    layers = []
    for k in range(rng.integers(1, 9)):
        if rng.random() < REPEATED:
            layers.append(repeated(rng, texture, size, most, background=k == 0))
            continue
        source = procedural if rng.random() < PROCEDURAL else texture
        if k == 0:
            n = size * 3 // 2
            own = [] if camera else [Path(rng, middle, length(rng, size, most))]
            place, mask = moved((size - n) / 2, (size - n) / 2), None
        else:
            mask = shape(rng, size)
            n = max(mask.shape)
            centre = rng.uniform(0, size, 2)
            own = [Path(rng, centre, length(rng, size, left))]
            place = moved(centre[0] - mask.shape[1] / 2, centre[1] - mask.shape[0] / 2)
        picture = merged(source(rng, n), mask)
        if rng.random() < DEFOCUSED:
            picture = defocused(picture, rng.uniform(1, 6))
        layers.append(Layer(picture, place, own + camera, endless=mask is None))
    if rng.random() < OVERLAY:
        layers.append(overlay(rng, size))
    if held:
        for layer in layers:
            layer.paths = []
    return layers


def merged(colour, mask):
    """[n, n, 3] u8 and a mask [h, w] u8 (or None: opaque), h, w <= n, as a Layer's picture."""
    if mask is None:
        return cv2.cvtColor(colour, cv2.COLOR_BGR2BGRA)
    h, w = mask.shape
    planes = cv2.split(colour[:h, :w])
    return cv2.merge([cv2.multiply(p, mask, scale=1 / 255) for p in planes] + [mask])


def defocused(picture, radius):
    """Blurred with a margin of its own, so that the mask's edge is, too."""
    r = int(np.ceil(radius))
    return cv2.stackBlur(picture, (2 * r + 1, 2 * r + 1))


def repeated(rng, texture, size, most, background):
    """A façade (tiles) or a fence (bars, a mesh) whose shift stays under half a period, mostly."""
    period = max(4, int(np.exp(rng.uniform(np.log(6), np.log(64))) * size / 256))
    n = size * 3 // 2
    ambiguous = rng.random() < AMBIGUOUS
    if background or rng.random() < 0.3:
        tile = cv2.resize(texture(rng, max(32, 2 * period)), (period, period), interpolation=cv2.INTER_AREA)
        colour = np.tile(tile, (n // period + 1, n // period + 1, 1))[:n, :n]
    else:
        colour = texture(rng, n)
    if ambiguous:
        # something that does not repeat must tell which period it was
        colour = cv2.addWeighted(colour, 0.6, texture(rng, n), 0.4, 0)
    mask = None if background else fence(rng, n, period)
    share = rng.uniform(0.55, 1.5) if ambiguous else rng.uniform(0, 0.45)
    path = Path(rng, (size / 2, size / 2), min(share * period, most * size / 720), rich=False)
    turn = rng.uniform(-0.4, 0.4) if rng.random() < 0.5 else 0.0
    c, s = np.cos(turn), np.sin(turn)
    rotated = np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]])
    place = moved(size / 2, size / 2) @ rotated @ moved(-n / 2, -n / 2)
    return Layer(merged(colour, mask), place, [path], endless=background)


def fence(rng, n, period):
    """A mask of bars, or of bars both ways: [h, w], sometimes less than the whole picture."""
    bar = max(1, int(period * rng.uniform(0.1, 0.5)))
    columns = (np.arange(n) % period < bar).astype(np.uint8) * 255
    rows = columns if rng.random() < 0.5 else np.zeros(n, np.uint8)
    mask = np.maximum(columns[None], rows[:, None])
    h, w = (n, n) if rng.random() < 0.5 else rng.integers(n // 4, n, 2)
    return np.ascontiguousarray(mask[:h, :w])


def overlay(rng, size):
    """A subtitle, a logo or the lines of an instrument, which stay where they are."""
    mask = np.zeros((size, size), np.uint8)
    edge = np.zeros((size, size), np.uint8)
    kind = rng.random()
    thick = int(rng.integers(1, 3))
    if kind < 0.7:
        scale = rng.uniform(0.35, 1.1) * size / 256
        x, y = rng.uniform(0.02, 0.5), rng.uniform(0.1, 0.95)
        for line in range(rng.integers(1, 4)):
            at = (int(x * size), int(y * size + line * 32 * scale))
            what, font = letters(rng, 4, 24), int(rng.integers(0, 8))
            cv2.putText(mask, what, at, font, scale, 255, thick, cv2.LINE_AA)
            cv2.putText(edge, what, at, font, scale, 255, thick + 2, cv2.LINE_AA)
    else:
        for _ in range(rng.integers(1, 5)):
            a, b = rng.integers(0, size, (2, 2)).tolist()
            draw = cv2.rectangle if rng.random() < 0.5 else cv2.line
            draw(mask, a, b, 255, thick, cv2.LINE_AA)
            cv2.circle(mask, a, int(rng.integers(3, size // 6)), 255, thick, cv2.LINE_AA)
    if rng.random() < 0.5:
        edge = mask
    tone = (rng.uniform(150, 255), *rng.uniform(90, 166, 2))
    inner, outer = mask / 255, np.maximum(edge, mask) / 255
    planes = [v * inner + dark * (outer - inner) for v, dark in zip(tone, (16, 128, 128))]
    return Layer(np.dstack([*planes, 255 * outer]).astype(np.uint8), STAY, [])


def letters(rng, least, most):
    return bytes(rng.integers(33, 123, rng.integers(least, most)).tolist()).decode()


def shape(rng, size):
    """A mask [h, w] u8, cut to what it covers: blob, polygon, letters, wires; soft in some."""
    mask = np.zeros((size, size), np.uint8)
    c = size / 2
    radius = np.exp(rng.uniform(np.log(0.04), np.log(0.45))) * size
    kind = rng.random()
    if kind < 0.7:
        n = 40 if kind < 0.35 else int(rng.integers(3, 12))
        angle = np.arange(n) * (2 * np.pi / n)
        if n == 40:
            r = sum(rng.normal(0, 0.4 / k) * np.cos(k * angle + rng.uniform(0, 7)) for k in range(2, 6))
        else:
            r = rng.uniform(-0.7, 0.2, n)
        r = np.minimum(radius * np.maximum(0.15, 1 + r), 0.49 * size)
        slim = rng.uniform(0.4, 1)
        points = np.stack([c + r * np.cos(angle), c + r * np.sin(angle) * slim], 1)
        cv2.fillPoly(mask, [(points * 16).astype(np.int32)], 255, cv2.LINE_AA, 4)
    elif kind < 0.85:
        at = (int(size * rng.uniform(0.05, 0.4)), int(c))
        cv2.putText(mask, letters(rng, 1, 8), at, int(rng.integers(0, 8)), rng.uniform(0.6, 4) * size / 256, 255, int(rng.integers(1, 9)), cv2.LINE_AA)
    else:
        for _ in range(rng.integers(1, 8)):
            a, b = (c + rng.uniform(-0.45, 0.45, (2, 2)) * size).astype(int).tolist()
            cv2.line(mask, a, b, 255, int(rng.integers(1, 7)), cv2.LINE_AA)
    x, y, w, h = cv2.boundingRect(mask)
    mask = cv2.copyMakeBorder(mask[y : y + h, x : x + w], 8, 8, 8, 8, cv2.BORDER_CONSTANT)
    if rng.random() < 0.2:
        mask = cv2.stackBlur(mask, (int(rng.integers(1, 8)) * 2 + 1,) * 2)
    return mask


# Textures


@functools.cache
def noise():
    """Normal noise, [1024, 1024] f32, mean 0, deviation 1; for random crops."""
    return np.random.default_rng(0).standard_normal((1024, 1024), np.float32)


def noise_crop(rng, n):
    y, x = rng.integers(0, 1024 - n + 1, 2)
    return noise()[y : y + n, x : x + n]


def procedural(rng, size):
    """A texture without any picture, [size, size, 3] u8."""
    return rng.choice([stripes, checks, clouds, clouds, leaves, leaves, page, plain])(rng, size)


def coloured(rng, y):
    """Luma [n, n] u8 with colours that go along with it."""
    tone = np.arange(256, dtype=np.float32) - 128
    palette = np.stack([tone + 128] + [rng.uniform(70, 186) + tone * rng.uniform(-0.3, 0.3) for _ in range(2)], 1)
    return cv2.LUT(cv2.merge([y, y, y]), np.clip(palette, 0, 255).astype(np.uint8)[None])


def stripes(rng, size):
    angle, period = rng.uniform(0, np.pi), rng.uniform(5, 60)
    line = np.arange(size, dtype=np.float32) * np.float32(2 * np.pi / period)
    a, b = line * np.float32(np.cos(angle)), line * np.float32(np.sin(angle))
    wave = np.outer(np.sin(b), np.cos(a)) + np.outer(np.cos(b), np.sin(a))
    if rng.random() < 0.5:
        wave = np.clip(wave * 4, -1, 1)
    return coloured(rng, marked(rng, 128 + np.float32(rng.uniform(20, 90)) * wave))


def checks(rng, size):
    p, q = rng.integers(6, 50, 2)
    low, high = rng.integers(16, 236, 2)
    line = np.arange(size)
    odd = ((line // p)[:, None] + (line // q)[None]) & 1
    return coloured(rng, marked(rng, np.where(odd, np.float32(high), np.float32(low))))


def marked(rng, y):
    """Luma f32 -> u8 with soft spots: stripes alone look the same wherever they have moved to."""
    n = y.shape[0]
    spots = cv2.resize(noise_crop(rng, max(2, n >> 4)), (n, n)) * np.float32(rng.uniform(4, 30))
    return np.clip(y + spots, 0, 255).astype(np.uint8)


def clouds(rng, size):
    """Noise of several octaves."""
    y = np.full((size, size), 128, np.float32)
    for octave in range(1, 7):
        n = max(2, size >> octave)
        y += cv2.resize(noise_crop(rng, n), (size, size)) * np.float32(rng.uniform(2, 30))
    return coloured(rng, np.clip(y, 0, 255).astype(np.uint8))


def leaves(rng, size):
    """Discs and boxes over each other, small ones in the majority: edges as in photographs."""
    image = np.empty((size, size, 3), np.uint8)
    image[:] = colour(rng)
    n = rng.integers(40, 120)
    radii = np.minimum(size * 0.02 * (1 - rng.random(n)) ** -0.6, size // 3).astype(int).tolist()
    places = rng.integers(0, size, (n, 2)).tolist()
    tones = rng.integers((16, 64, 64), (236, 192, 192), (n, 3)).tolist()
    for k, (r, (x, y), tone) in enumerate(zip(radii, places, tones)):
        if k % 2:
            cv2.circle(image, (x, y), r, tone, -1, cv2.LINE_AA)
        else:
            cv2.rectangle(image, (x - r, y - r // 2), (x + r // 2, y + r), tone, -1)
    grain = noise_crop(rng, size) * np.float32(rng.uniform(0, 12))
    cv2.insertChannel(np.clip(image[..., 0] + grain, 0, 255).astype(np.uint8), image, 0)
    return image


def page(rng, size):
    """Lines of letters."""
    image = np.empty((size, size, 3), np.uint8)
    image[:] = colour(rng)
    scale, font = rng.uniform(0.3, 1.2), int(rng.integers(0, 8))
    for y in range(0, size + 20, max(8, int(32 * scale))):
        cv2.putText(image, letters(rng, 8, 40), (int(rng.integers(-40, 40)), y), font, scale, colour(rng), 1, cv2.LINE_AA)
    return image


def plain(rng, size):
    """A gradient from corner to corner."""
    corners = np.array([colour(rng) for _ in range(4)], np.uint8).reshape(2, 2, 3)
    return cv2.resize(corners, (size, size))


def colour(rng):
    return (*rng.integers(16, 236, 1).tolist(), *rng.integers(64, 192, 2).tolist())


# Rendering


def shutter(rng, layers):
    """Share of the interval that the shutter is open, short enough for MOMENTS moments."""
    length = max(sum(p.length for p in layer.paths) for layer in layers)
    return min(rng.uniform(0.1, 0.6), MOMENTS * MOMENT_STEP / max(length, 1.0))


def render(layers, size, t, shutter=0.0):
    """The Scene at phases 0, t, 1 and before; shutter: share of the interval that a frame is the mean of."""
    frames = np.zeros((4, 3, size, size), np.float32)
    left, here, right, _ = (expose(frame, layers, s, shutter) for frame, s in zip(frames, (0.0, t, 1.0, -1.0)))
    flow = flow_at(layers, here, t)
    visible = np.stack([seen(flow[:2], here, left), seen(flow[2:], here, right)])
    return Scene(frames[:3], frames[3], flow, visible, distance(flow, t))


def expose(frame, layers, s, shutter):
    """Draws [3, S, S] as it is at phase s, or as a shutter about s sees it; returns the labels at s."""
    if shutter == 0:
        return composite(frame, layers, s)
    moment = np.empty_like(frame)
    for k, offset in enumerate((np.arange(MOMENTS) + 0.5) / MOMENTS - 0.5):
        labels = composite(moment, layers, s + shutter * offset)
        frame += moment
        if k == MOMENTS // 2:
            middle = labels
    frame /= MOMENTS
    return middle


def composite(frame, layers, s):
    """Draws [3, S, S] at phase s; returns labels [S, S] u8: the layer that is in front at each pixel."""
    size = frame.shape[-1]
    labels = np.zeros((size, size), np.uint8)
    for k, layer in enumerate(layers):
        m = layer.at(s)
        if layer.endless:
            whole = cv2.warpPerspective(layer.picture, m, (size, size), borderMode=cv2.BORDER_REFLECT_101)
            for own, plane in zip(frame, cv2.split(whole)):
                own[:] = plane
            continue
        x0, y0, x1, y1 = extent(m, layer.picture.shape, size)
        if x0 >= x1 or y0 >= y1:
            continue
        part = cv2.warpPerspective(layer.picture, moved(-x0, -y0) @ m, (x1 - x0, y1 - y0))
        *planes, alpha = cv2.split(part)
        behind = (255 - alpha) * np.float32(1 / 255)
        for own, plane in zip(frame, planes):
            region = own[y0:y1, x0:x1]
            region *= behind
            region += plane
        np.copyto(labels[y0:y1, x0:x1], k, where=alpha > 127)
    return labels


def extent(m, shape, size):
    """The box of the picture that a texture of this shape can touch: x0, y0, x1, y1."""
    h, w = shape[:2]
    corners = m @ np.array([[-1, w, w, -1], [-1, -1, h, h], [1, 1, 1, 1]])
    corners = corners[:2] / corners[2]
    x0, y0 = np.clip(np.floor(corners.min(1)), 0, size).astype(int).tolist()
    x1, y1 = np.clip(np.ceil(corners.max(1)) + 1, 0, size).astype(int).tolist()
    return x0, y0, x1, y1


@functools.cache
def grid(size):
    """Positions x, y: [S, S, 2] f32."""
    ys, xs = np.mgrid[0:size, 0:size].astype(np.float32)
    return np.dstack([xs, ys])


def flow_at(layers, labels, t):
    """Flow [4, S, S] at phase t to phases 0 and 1 of the layer in front."""
    size = labels.shape[0]
    flow = np.zeros((4, size, size), np.float32)
    for k, layer in enumerate(layers):
        own = labels == k
        x, y, w, h = cv2.boundingRect(own.view(np.uint8))
        if not layer.paths or w == 0:
            continue
        box = np.s_[y : y + h, x : x + w]
        here, own = grid(size)[box], own[box]
        back = np.linalg.inv(layer.at(t))
        for c, s in ((0, 0.0), (2, 1.0)):
            there = cv2.perspectiveTransform(here, layer.at(s) @ back) - here
            np.copyto(flow[c][box], there[..., 0], where=own)
            np.copyto(flow[c + 1][box], there[..., 1], where=own)
    return flow


def seen(flow, labels, other):
    """[S, S] bool: nothing is in front of it in the other frame, whose labels these are.

    Labels are read at the nearest pixel; 255, in front of all, is outside the picture.
    """
    position = grid(labels.shape[0])
    there = cv2.remap(
        other, position[..., 0] + flow[0], position[..., 1] + flow[1],
        cv2.INTER_NEAREST, borderMode=cv2.BORDER_CONSTANT, borderValue=255,
    )
    return there <= labels
