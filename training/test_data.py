"""Tests of the training's data: python test_data.py"""

import contextlib
import functools
import json
import pathlib
import shutil
import subprocess
import sys
import tempfile
import types

import cv2
import numpy as np
import torch

import batches
import clips
import layers
import model
import scores
import search
import validate

SIZE = 256
TESTS = []


def test(function):
    """A test without arguments, or with one: an empty folder."""
    TESTS.append(function)
    return function


@functools.cache
def soft_noise():
    noise = np.random.default_rng(9).standard_normal((1024, 1024, 3)).astype(np.float32)
    return np.clip(128 + cv2.GaussianBlur(noise, (0, 0), 4) * 500, 0, 255).astype(np.uint8)


def smooth(rng, n):
    """A texture without fine detail: resampled twice it is still the same within SMOOTH_ERROR code values."""
    x, y = rng.integers(0, 1024 - n, 2)
    return np.ascontiguousarray(soft_noise()[y : y + n, x : x + n])


# What bilinear taps and rounding leave, code values, at all but one of a thousand pixels: mirrored
# edges have kinks. A quarter of a pixel off makes more at a tenth of them.
SMOOTH_ERROR = 2.5


def path(move, ahead=0.0, beside=0.0):
    """A Path of this displacement (x, y) that does nothing else."""
    p = layers.Path(np.random.default_rng(0), (SIZE / 2, SIZE / 2), float(np.hypot(*move)), rich=False)
    p.move, p.start, p.ahead, p.beside = np.array(move, float), np.zeros(2), ahead, beside
    return p


def background(paths, rng=None):
    picture = smooth(rng or np.random.default_rng(1), SIZE)
    return layers.Layer(layers.merged(picture, None), layers.STAY, paths, endless=True)


def square(x, y, side, paths):
    """A square whose first pixel is at (x, y) in the middle of the interval."""
    mask = np.full((side, side), 255, np.uint8)
    mask = cv2.copyMakeBorder(mask, 2, 2, 2, 2, cv2.BORDER_CONSTANT)
    return layers.Layer(layers.merged(smooth(np.random.default_rng(2), side + 4), mask), layers.moved(x - 2, y - 2), paths)


def warped(frame, flow):
    at = layers.grid(SIZE)
    return cv2.remap(frame, at[..., 0] + flow[0], at[..., 1] + flow[1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)


def inside(scene, side, margin=3):
    """Pixels visible on that side and away from every edge in the flow and in the visibility."""
    flow = scene.flow[2 * side : 2 * side + 2]
    near = np.ones((2 * margin + 1,) * 2, np.uint8)
    even = np.ones((SIZE, SIZE), bool)
    for f in flow:
        even &= cv2.dilate(f, near) - cv2.erode(f, near) < 2
    return even & (cv2.erode(scene.visible[side].astype(np.uint8), near) > 0)


def errors(scene, spoilt=0.0):
    """Luma differences of both sources, warped onto the frame at t, where both should agree."""
    out = []
    for side, source in ((0, 0), (1, 2)):
        flow = scene.flow[2 * side : 2 * side + 2] + np.float32(spoilt)
        difference = np.abs(warped(scene.frames[source][0], flow) - scene.frames[1][0])
        out.append(difference[inside(scene, side)])
    return np.concatenate(out)


@test
def flow_takes_the_sources_to_the_frame_between():
    for seed, t in enumerate((0.5, 0.25, 0.8, 1 / 3)):
        rng = np.random.default_rng(seed)
        rich = [layers.Path(rng, (100, 150), 20.0) for _ in range(3)]
        made = layers.render([background(rich[:1], rng), square(90, 60, 80, rich[1:])], SIZE, t)
        assert errors(made).size > SIZE * SIZE
        most = np.percentile(errors(made), 99.9)
        assert most < SMOOTH_ERROR, f"seed {seed}: {most}"
        assert np.percentile(errors(made, spoilt=0.25), 90) > SMOOTH_ERROR, "a quarter of a pixel off should show"


@test
def flow_of_random_scenes_is_that_of_their_frames():
    right, off = [], []
    for seed in range(40):
        made = layers.scene(np.random.default_rng(seed), smooth, SIZE, 0.4)
        if not made.cut and errors(made).size:
            right.append(errors(made).mean())
            off.append(errors(made, spoilt=1.0).mean())
    # defocus, blur and half-transparent edges are in these, so they are not exact to the pixel
    assert np.median(right) < 0.7, right
    assert np.median(off) > 5 * np.median(right), (off, right)


@test
def what_a_square_hides_is_told():
    t, way = 0.5, 20
    made = layers.render([background([]), square(110, 100, 40, [path((way, 0))])], SIZE, t)
    # at t the square is at 110..149; in the left frame at 100..139, in the right one at 120..159
    left, right = np.ones((SIZE, SIZE), bool), np.ones((SIZE, SIZE), bool)
    left[100:140, 100:110] = False
    right[100:140, 150:160] = False
    for name, want, got in (("left", left, made.visible[0]), ("right", right, made.visible[1])):
        assert np.array_equal(want, got), f"{name}: {np.argwhere(want != got)[:5]}"
    moving = np.zeros((SIZE, SIZE), bool)
    moving[100:140, 110:150] = True
    want = np.array([-way * t, 0, way * (1 - t), 0])[:, None, None] * moving
    assert np.abs(made.flow - want).max() < 1e-3
    # half a pixel off the grid, its own edge does not hide it
    made = layers.render([background([]), square(110.25, 100, 40, [path((5.5, 2.5))])], SIZE, t)
    front = made.flow[0] != 0
    assert front.sum() == 1600 and made.visible[:, front].all()


@test
def what_leaves_the_picture_is_not_visible():
    made = layers.render([background([path((20, 0))])], SIZE, 0.5)
    assert not made.visible[0][:, :9].any() and made.visible[0][:, 11:].all()
    assert made.visible[1][:, :-11].all() and not made.visible[1][:, -9:].any()


@test
def distance_is_the_share_of_the_way():
    for t in (0.25, 0.5, 0.8):
        even = layers.render([background([path((30, -12))])], SIZE, t)
        assert np.abs(even.distance - t).max() < 1e-3
        for ahead, beside in ((0.3, 0.0), (-0.3, 0.0), (0.3, 0.5)):
            made = layers.render([background([path((30, -12), ahead, beside)])], SIZE, t)
            want = t + ahead * t * (1 - t)
            assert np.abs(made.distance - want).max() < 1e-3, (t, ahead, made.distance.max())
        assert (layers.render([background([])], SIZE, t).distance == np.float32(t)).all()
    by_hand = np.array([-3.0, 0, 3, 4], np.float32).reshape(4, 1, 1)
    # V0t = (3, 0), V01 = (6, 4): 18 / 52
    assert abs(layers.distance(by_hand, 0.5)[0, 0] - 18 / 52) < 1e-6


@test
def every_layer_of_an_uneven_scene_has_its_own_distance():
    for seed, t in enumerate((0.25, 0.5, 0.8)):
        rng = np.random.default_rng(seed)
        whole = [background([path((14, -6))], rng), square(100, 90, 60, [path((-10, 18))])]
        uneven = [layers.eased(layer, rng) for layer in whole]
        made = layers.render(uneven, SIZE, t)
        for layer, here in zip(uneven, (made.flow[0] * 14 < 0, made.flow[0] * 14 > 0)):
            assert 0.5 <= layer.power <= 2 and here.sum() > 3000
            assert np.abs(made.distance[here] - t**layer.power).max() < 2e-3
        assert np.ptp(made.distance) > 0.02
        # at the ends and before it is where it was
        for s in (-1.0, 0.0, 1.0):
            assert all(np.array_equal(a.at(s), b.at(s)) for a, b in zip(whole, uneven))
        assert np.percentile(errors(made), 99.9) < SMOOTH_ERROR


@test
def an_overlay_stays_while_the_rest_moves():
    still = layers.overlay(np.random.default_rng(4), SIZE)
    made = layers.render([background([path((12, 5))]), still], SIZE, 0.5)
    front = still.picture[..., 3] > 127
    assert front.any() and not made.flow[:, front].any() and made.visible[:, front].all()
    assert np.abs(made.flow[0][~front] + 6).max() < 1e-3
    solid = still.picture[..., 3] == 255
    assert np.array_equal(made.frames[0][:, solid], made.frames[2][:, solid])


@test
def shutter_blurs_along_the_motion_only():
    scene = [background([path((16, 0))]), square(100, 120, 40, [path((8, 0))])]
    sharp, blurred = (layers.render(scene, SIZE, 0.5, s) for s in (0.0, 0.5))
    detail = lambda frame, axis: np.abs(np.diff(frame[0], axis=axis)).mean()
    assert detail(blurred.frames[1], 1) < 0.9 * detail(sharp.frames[1], 1)
    assert detail(blurred.frames[1], 0) > 0.7 * detail(sharp.frames[1], 0)
    # what is in front is what is there in the middle of the shutter's time
    assert np.array_equal(sharp.flow, blurred.flow) and np.array_equal(sharp.visible, blurred.visible)
    assert np.percentile(errors(blurred), 99.9) < SMOOTH_ERROR


@test
def repeated_patterns_move_under_half_a_period_mostly():
    shares = []
    for seed in range(200):
        rng = np.random.default_rng(seed)
        layer = layers.repeated(rng, smooth, SIZE, layers.MOST, background=True)
        again = np.random.default_rng(seed)
        period = max(4, int(np.exp(again.uniform(np.log(6), np.log(64)))))
        shares.append(layer.paths[0].length / period)
    shares = np.array(shares)
    assert 0.05 < (shares > 0.5).mean() < 0.3 and (shares < 0.5).mean() > 0.7


@test
def displacement_keeps_its_bound():
    for most in (256.0, 60.0):
        longest = 0
        for seed in range(60):
            for layer in layers.invent(np.random.default_rng(seed), smooth, SIZE, most, held=False):
                longest = max(longest, sum(p.length for p in layer.paths))
        bound = most * SIZE / 720
        assert 0.6 * bound < longest <= bound + layers.LEAST * SIZE / 720, (longest, bound)


@test
def held_pictures_are_equal():
    made = layers.render(layers.invent(np.random.default_rng(3), smooth, SIZE, layers.MOST, held=True), SIZE, 0.3)
    assert np.array_equal(made.frames[0], made.frames[2]) and not made.flow.any() and made.visible.all()


@test
def a_cut_shows_the_nearer_frame():
    scene = layers.render([background([path((9, 0))])], SIZE, 0.5)
    other = np.full((SIZE, SIZE, 3), 77, np.uint8)
    for t, nearer in ((0.25, 0), (0.5, 0), (0.75, 2)):
        made = layers.cut(scene, other, t)
        assert np.array_equal(made.frames[1], made.frames[nearer]) and (made.frames[2] == 77).all()
        assert made.cut and not made.flow.any()
        assert made.visible[nearer // 2].all() and not made.visible[1 - nearer // 2].any()


@test
def the_same_seed_makes_the_same_scene():
    one, two, other = (layers.scene(np.random.default_rng(s), layers.procedural, SIZE, 0.5) for s in (5, 5, 6))
    for name in ("frames", "flow", "visible", "distance"):
        assert np.array_equal(getattr(one, name), getattr(two, name)), name
    assert not np.array_equal(one.frames, other.frames)


# Clips


W, H, FRAMES, CUT = 320, 240, 60, 33


def counting(folder, still=False):
    """An unpacked clip whose frame i has luma 2 i, with a compressed version at 2 i + 1, and a cut."""
    planes = np.zeros((FRAMES, W * H * 3 // 2), np.uint8)
    planes[:] = 0 if still else np.arange(FRAMES)[:, None] * 2
    planes.tofile(folder / "0000.yuv")
    (planes + 1).tofile(folder / "0000.low.yuv")
    video = {"file": "0000.yuv", "compressed": "0000.low.yuv", "source": "a.mp4", "width": W, "height": H, "frames": FRAMES, "cuts": [CUT]}
    (folder / "index.json").write_text(json.dumps({"videos": [video], "stills": []}))
    return clips.Clips(folder)


@test
def triplets_keep_their_cadence_and_their_shot(folder):
    data, rng = counting(folder), np.random.default_rng(1)
    low = 0
    for _ in range(300):
        a, b = batches.PHASES[rng.integers(len(batches.PHASES))]
        values = [int(planes[0][0, 0]) for planes in data.triplet(rng, 256, a, b)]
        first, middle, last, *before = (v // 2 for v in values)
        stride, rest = divmod(last - first, b)
        assert rest == 0 and middle - first == a * stride, values
        assert first >= CUT or last < CUT, values
        # a shot's first frames have none before them
        assert before in ([], [2 * first - last]) and bool(before) == (2 * first - last >= CUT * (first >= CUT)), values
        assert values[1] % 2 == 0, "the truth is never compressed"
        assert values[0] % 2 == values[2] % 2
        low += values[0] % 2
        assert 1 <= stride <= 8
    assert 100 < low < 200, low


@test
def strides_are_one_to_eight_mostly_one():
    rng, strides = np.random.default_rng(0), []
    for _ in range(2000):
        first, _, last, *_ = clips.cadence(rng, [(0, 10), (10, 90)], 1, 2)
        strides.append((last - first) // 2)
    assert set(strides) == set(range(1, 9)) and 0.4 < np.mean(np.array(strides) == 1) < 0.75


@test
def a_small_picture_is_mirrored(folder):
    data = counting(folder)
    y, u, v = data.videos[0].planes(5, 0, 0, 256)
    assert y.shape == (256, 256) and u.shape == v.shape == (128, 128) and (y == 10).all()


@test
def pairs_without_motion_are_rare_but_there(folder):
    data, rng = counting(folder, still=True), np.random.default_rng(2)
    moving = clips.Clips(folder)
    video = moving.videos[0]
    video.compressed = None
    frames = np.array(video.frames)
    # half of the picture's frames stand still: the first shot
    frames[CUT:] = np.arange(FRAMES - CUT)[:, None] * 3
    video.frames = frames
    still = sum(np.array_equal(p[0][0], p[2][0]) for p in (moving.triplet(rng, 256, 1, 2) for _ in range(600)))
    assert 5 < still < 90, still
    # where there is nothing else, they have to do
    assert data.triplet(rng, 256, 1, 2) is not None


@test
def a_shot_that_is_too_short_gives_nothing(folder):
    data = counting(folder)
    data.videos[0].shots = [(0, 4), (4, 8)]
    assert data.triplet(np.random.default_rng(0), 256, 1, 4) is None
    assert data.triplet(np.random.default_rng(0), 256, 1, 3) is not None
    assert not batches.Batches(data, arguments(), 2).synthetic_rows(0) < 4


def arguments(**changed):
    return types.SimpleNamespace(**{"steps": 100, "maps": 0.0, "batch": 4, "size": 128, "seed": 3, "synthetic": 0.5, "synthetic_end": 0.0} | changed)


@test
def batches_have_their_layout(folder):
    data = counting(folder)
    for step, n in ((0, 2), (99, 0)):
        t, y, u, v, flow, visible, distance, found, past, told = batches.Batches(data, arguments(), 2)[step]
        assert 0 < t < 1
        assert y.shape == (4, 3, 128, 128) and u.shape == v.shape == (4, 3, 64, 64)
        assert flow.shape == (n, 4, 128, 128) and visible.shape == (n, 2, 128, 128) and distance.shape == (n, 1, 128, 128)
        assert found.shape == (4, 4, 16, 16) and past.shape == (4, 3, 16, 16) and told.shape == (4 - n, 4, 16, 16)
        assert all(x.dtype == torch.float32 and (x >= 0).all() and (x <= 1).all() for x in (y, u, v, visible, distance))


@test
def maps_are_exact_on_synthetic_rows_and_told_on_some_real_ones(folder):
    data, kinds = counting(folder), set()
    pan = np.ascontiguousarray(soft_noise()[:H, : W + 80, 0])
    frames = np.array([np.r_[pan[:, k : k + W].ravel(), np.full(W * H // 2, 128, np.uint8)] for k in range(FRAMES)])
    data.videos[0].frames = data.videos[0].compressed = frames
    for step in range(8):
        batch = batches.Batches(data, arguments(batch=8, maps=1.0, synthetic_end=0.5), 2)[step]
        t, distance, past, phase = batch[0], batch[6], batch[8], batches.Batches(data, arguments(synthetic_end=0.5), 2)[step][0]
        assert t.shape == (8, 1, 16, 16) and t.min() >= batches.NEAREST and t.max() <= 1 - batches.NEAREST
        for k in range(4):
            want = torch.from_numpy(batches.cells(distance[k, 0].numpy())).clamp(batches.NEAREST, 1 - batches.NEAREST)
            assert torch.equal(t[k, 0], want) and not past[k].any()
        for k in range(4, 8):
            told = np.ptp(t[k].numpy()) > 0
            assert not (told and past[k].any())
            # everything moves alike and evenly
            assert abs(np.median(t[k]) - phase) < (0.05 if told else 1e-6), (phase, np.median(t[k]))
            kinds.add(bool(told))
    assert kinds == {False, True}


@test
def a_map_of_one_phase_is_that_phase():
    torch.manual_seed(1)
    net = model.Network(model.VARIANTS["fast"])
    views = torch.rand(2, 6, 25, 27).split(1)
    found, past = torch.randn(1, 4, 7, 7), torch.randn(1, 3, 7, 7)
    for t in (0.25, 0.5, 0.7):
        (flows, mask), (other, same) = (net(*views, found, past, phase) for phase in (t, torch.full((1, 1, 7, 7), t)))
        for a, b in zip((*flows, mask), (*other, same)):
            assert (a - b).abs().max() < 1e-4
        luma = torch.rand(2, 1, 50, 54).split(1)
        pictures = [model.synthesise(*luma, flows[-1], mask, phase)[0] for phase in (t, torch.full((1, 1, 7, 7), t))]
        assert (pictures[0] - pictures[1]).abs().max() < 1e-4


@test
def each_cell_of_a_map_has_the_scores_of_its_own_phase():
    torch.manual_seed(2)
    features, luma, flow = torch.rand(2, 8, 9, 14).split(1), torch.rand(2, 1, 36, 56).split(1), torch.randn(1, 4, 9, 14)
    t = torch.rand(1, 1, 9, 14).clamp(0.01, 0.99)
    scores = model.correlate(*features, t, model.RADIUS)
    with swapped(model, window=lambda cells: cells):
        agreement = model.luma_scores(*luma, flow, t)[0]
        for y, x in np.ndindex(9, 14):
            one = t[0, 0, y, x].item()
            for whole, wanted in ((scores, model.correlate(*features, one, model.RADIUS)), (agreement, model.luma_scores(*luma, flow, one)[0])):
                assert torch.equal(whole[..., y, x], wanted[..., y, x]), (y, x)


@test
def the_same_step_makes_the_same_batch(folder):
    data = counting(folder)
    one, two = (batches.Batches(data, arguments(), 2)[7] for _ in range(2))
    other = batches.Batches(data, arguments(seed=4), 2)[7]
    assert one[0] == two[0] and all(torch.equal(a, b) for a, b in zip(one[1:], two[1:]))
    assert not torch.equal(one[1], other[1])


@test
def nothing_to_learn_from_is_procedural_rows_alone(folder):
    clips.unpack(None, folder)
    t, y, _, _, flow, *_ = batches.Batches(clips.Clips(folder), arguments(), 2)[99]
    assert flow.shape[0] == y.shape[0] == 4 and y.std() > 0.01


@test
def a_search_finds_a_shift_both_ways_and_half_of_it_on_either_side():
    luma = np.ascontiguousarray(soft_noise()[..., 0])
    at = lambda s: luma[100 + 4 * s : 100 + 4 * s + SIZE, 100 - 12 * s : 100 - 12 * s + SIZE]
    left, truth, right = (at(s) for s in (0, 1, 2))
    inner = (slice(None), slice(4, -4), slice(4, -4))
    found = search.found(search.searcher(2), left, right)[inner]
    told = search.told(search.searcher(2), left, truth, right)[inner]
    for flow, want in ((found[:2], (3, -1)), (found[2:], (-3, 1)), (told[:2], (-1.5, 0.5)), (told[2:], (1.5, -0.5))):
        assert np.median(np.abs(flow - np.array(want)[:, None, None])) < 0.05, np.median(flow, (1, 2))


@test
def noise_leaves_the_truth_alone():
    noisy = 0
    for seed in range(60):
        flat = np.full((3, 3, 64, 64), 120, np.float32)
        left, truth, right = batches.degraded(np.random.default_rng(seed), flat, 0.5)
        assert all(np.ptp(plane) == 0 for plane in truth), seed
        assert (np.ptp(left[0]) > 0) == (np.ptp(right[0]) > 0)
        noisy += np.ptp(left[0]) > 0
    assert 8 < noisy < 30, noisy


@test
def jpeg_leaves_the_truth_alone():
    frame = smooth(np.random.default_rng(0), 64).transpose(2, 0, 1).astype(np.float32)
    clean, coded = batches.split(frame), 0
    with swapped(batches, LIGHT=0.0, NOISY=0.0, CODED=0.0):
        for seed in range(60):
            left, truth, right = batches.degraded(np.random.default_rng(seed), np.stack([frame] * 3), 0.5)
            assert all(np.array_equal(a, b) for a, b in zip(truth, clean))
            assert all(np.array_equal(a, b) for a, b in zip(left, right))
            coded += not np.array_equal(left[0], clean[0])
    assert 6 < coded < 26, coded


@test
def a_video_encoder_leaves_the_truth_alone_and_the_sources_in_their_place():
    scene = [batches.split(smooth(np.random.default_rng(k), 64).transpose(2, 0, 1).astype(np.float32)) for k in range(4)]
    frames = [np.stack([cv2.resize(p, (64, 64)) for p in frame]).astype(np.float32) for frame in scene]
    with swapped(batches, LIGHT=0.0, NOISY=0.0, COMPRESSED=1.0, CODED=1.0):
        low = batches.degraded(np.random.default_rng(1), [f.copy() for f in frames], 0.5)
    clean = [batches.split(f) for f in frames]
    assert all(np.array_equal(a, b) for a, b in zip(low[1], clean[1]))
    for k in (0, 2, 3):
        error = [np.abs(low[k][0].astype(int) - clean[j][0]).mean() for j in range(4)]
        assert np.argmin(error) == k and error[k] > 0.1, (k, error)


@test
def light_changes_evenly():
    for seed in range(20):
        frames = np.stack([np.stack([np.full((8, 8), v, np.float32) for v in (116, 140, 110)])] * 3)
        batches.relit(np.random.default_rng(seed), frames, 0.25)
        left, truth, right = frames[:, :, 0, 0]
        assert np.abs(truth - (0.75 * left + 0.25 * right)).max() < 1e-3 and np.abs(left - right).max() > 0
        # colour fades along with luma: both keep their ratio over black
        assert np.abs((frames[:, 1] - 128) / 12 - (frames[:, 0] - 16) / 100).max() < 1e-4


@contextlib.contextmanager
def swapped(module, **values):
    """The module's constants with other values."""
    old = {name: getattr(module, name) for name in values}
    vars(module).update(values)
    yield
    vars(module).update(old)


def y4m(path, frames):
    """frames: [n, H, W] u8 luma; chroma is grey."""
    n, h, w = frames.shape
    grey = bytes([128]) * (w * h // 2)
    path.write_bytes(f"YUV4MPEG2 W{w} H{h} F25:1 Ip C420jpeg\n".encode() + b"".join(b"FRAME\n" + f.tobytes() + grey for f in frames))


def pan(seed, n):
    picture = smooth(np.random.default_rng(seed), 220)[..., 0]
    return [picture[20:116, 2 * k : 2 * k + 160] for k in range(n)]


@test
def a_folder_of_anyones_video_is_unpacked(folder):
    if not shutil.which("ffmpeg"):
        print("  skipped: no ffmpeg", file=sys.stderr)
        return
    source, out = folder / "source", folder / "out"
    source.mkdir()
    frames = np.array(pan(1, 14) + pan(2, 16))
    for name in ("a.y4m", "b.y4m", "c.y4m"):
        y4m(source / name, frames)
    (source / "z.mp4").write_bytes(b"no video")
    clips.unpack(source, out)
    index = json.loads((out / "index.json").read_text())
    assert [(v["frames"], v["width"], v["height"], v["cuts"]) for v in index["videos"]] == [(30, 160, 96, [14])] * 3
    data = clips.Clips(out)
    luma = data.videos[0].frames[20][: 160 * 96].reshape(96, 160)
    assert np.abs(luma.astype(int) - frames[20]).max() <= 2
    encoders = subprocess.run(["ffmpeg", "-v", "error", "-encoders"], capture_output=True, text=True).stdout
    if all(c in encoders for c in clips.CODECS):
        low = [v for v in data.videos if v.compressed is not None]
        assert len(low) == 1 and len(low[0].compressed) == 30
        difference = np.abs(low[0].compressed.astype(int) - low[0].frames).mean()
        assert 0.2 < difference < 20, difference
    stamp = (out / "index.json").stat().st_mtime_ns
    clips.unpack(source, out)
    assert (out / "index.json").stat().st_mtime_ns == stamp, "unpacked twice"


@test
def a_long_video_is_taken_in_pieces(folder):
    if not shutil.which("ffmpeg"):
        print("  skipped: no ffmpeg", file=sys.stderr)
        return
    y4m(folder / "long.y4m", np.arange(200, dtype=np.uint8)[:, None, None] * np.ones((1, 32, 32), np.uint8))
    size = 32 * 32 * 3 // 2
    w, h, cuts = clips.unpack_video(folder / "long.y4m", folder / "out.yuv", size * 130)
    values = clips.mapped(folder / "out.yuv", w, h)[:, 0].astype(int)
    assert len(values) == 120 and cuts == [60]
    # values lose a little on the way to studio range
    assert (np.diff(values[:60]) >= 0).all() and (np.diff(values[60:]) >= 0).all() and values[60] - values[59] > 20


@test
def only_what_may_ship_is_listed(folder):
    (folder / "MANIFEST.tsv").write_text("file\tuse\tcut_index\na.mp4\tship\t7\nb.mp4\tstudy\t\n")
    assert [(p.name, r["cut_index"]) for p, r in clips.listed(folder, "MANIFEST.tsv", clips.VIDEO)] == [("a.mp4", "7")]


@test
def held_out_clips_are_every_fifth_source(folder):
    counting(folder)
    index = json.loads((folder / "index.json").read_text())
    index["videos"] = [index["videos"][0] | {"source": f"{name}_s{k}.mp4"} for name in "abcdefghij" for k in range(2)]
    (folder / "index.json").write_text(json.dumps(index))
    names = [{v.name[0] for v in clips.Clips(folder, held_out=h).videos} for h in (False, True)]
    assert names[1] == {"e", "j"} and names[0] == set("abcdfghi")


# Scores


@test
def scores_are_those_of_the_definitions():
    a = smooth(np.random.default_rng(0), 96)[..., 0]
    assert scores.psnr(a, a) == 100 and abs(scores.ssim(a, a) - 1) < 1e-6
    b = np.where(np.indices(a.shape).sum(0) % 2, a // 2 + 60, a // 2 + 64).astype(np.uint8)
    error = np.mean((a.astype(float) - b) ** 2)
    assert abs(scores.psnr(a, b) - 20 * np.log10(255 / error**0.5)) < 1e-9
    assert abs(scores.ssim(a, b) - slow_ssim(a.astype(float), b.astype(float))) < 1e-4


def slow_ssim(a, b):
    """A window at a time, at every seventh position."""
    line = np.exp(-(np.arange(-5, 6) ** 2) / (2 * 1.5**2))
    weight = np.outer(line, line) / line.sum() ** 2
    out, n = np.zeros((86, 86)), 86
    for y in range(n):
        for x in range(n):
            p, q = a[y : y + 11, x : x + 11], b[y : y + 11, x : x + 11]
            mp, mq = (weight * p).sum(), (weight * q).sum()
            vp, vq, c = (weight * p * p).sum() - mp**2, (weight * q * q).sum() - mq**2, (weight * p * q).sum() - mp * mq
            out[y, x] = (2 * mp * mq + 6.5025) * (2 * c + 58.5225) / ((mp**2 + mq**2 + 6.5025) * (vp + vq + 58.5225))
    return out.mean()


@test
def frames_across_a_cut_are_not_measured(folder):
    video = counting(folder).videos[0]
    made = validate.middles(video)
    # 33 begins a shot: neither it nor the one before has both neighbours
    assert CUT not in made and CUT - 1 not in made and 31 in made and 35 in made
    reports = validate.measure(None, [video], most=3)
    # the mean of luma 2 (i - 1) and 2 (i + 1) is luma 2 i
    assert reports[0].psnr == [100.0] * 3 and reports[0].row()[1] > 0.999
    assert validate.sheet(reports).shape == (300, 1200) and "a " in validate.table(reports)


def main():
    failed = 0
    for run in TESTS:
        with tempfile.TemporaryDirectory() as folder:
            try:
                run(*[pathlib.Path(folder)] * run.__code__.co_argcount)
                print(f"ok      {run.__name__}")
            except Exception:
                failed += 1
                sys.excepthook(*sys.exc_info())
                print(f"FAILED  {run.__name__}")
    sys.exit(f"{failed} of {len(TESTS)} failed" if failed else 0)


if __name__ == "__main__":
    main()
