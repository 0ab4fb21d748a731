"""What stands still over a moving picture: overlays drawn onto real clips, every second frame withheld and made again.

    cargo build --release
    GST_PLUGIN_PATH=target/release python training/overlays.py CLIPS [--quality balanced high] [--write FOLDER]

Onto every frame of each clip go a subtitle, a logo, a HUD (all white with a dark edge) and a thin cross of one pixel in the middle. The
kept frames go losslessly through the element, and through methods of `classical.py`. Where something was drawn, and 4 pixels around
it, made and true luma are compared:

- PSNR, dB: the mean over the frames. A ghost of what was drawn counts, and so does the picture between the letters.
- off, codes of 8 bits: the mean difference of what was drawn itself, of letters and logo, and of the cross. Blending has 0 there.
- sharp: squares of luma's gradients over the true ones'. 1 is as sharp as the truth.

With --write the middle one of each clip's made frames goes there as a picture: the true one, then the methods', top to bottom.

Needs what `classical.py` needs, and gst-launch-1.0 with y4mdec, avenc_ffv1 and matroskamux.
"""

import argparse
import pathlib
import subprocess
import tempfile

import cv2
import numpy as np

from classical import METHODS, Frames, middles, read, row, videos
from clips import write
from scores import psnr

# Pixels around what was drawn that count, too: where a ghost of it would be.
AROUND = 4
# Luma of limited range.
DARK, WHITE = 16, 235
RIVALS = ("blend", "minterpolate", "DIS")


def drawn(width, height):
    """Luma of the overlay and how much it covers, 0 to 1, [H, W] f32; where the cross is, bool."""
    luma, covers = np.full((height, width), DARK, np.uint8), np.zeros((height, width), np.uint8)
    unit = height / 480

    def text(words, x, y, size, thick):
        font, at = cv2.FONT_HERSHEY_SIMPLEX, (round(x), round(y))
        cv2.putText(covers, words, at, font, size * unit, 255, thick + 4, cv2.LINE_AA)
        cv2.putText(luma, words, at, font, size * unit, WHITE, thick, cv2.LINE_AA)

    thick = max(1, round(2 * unit))
    for k, words in enumerate(("What stands still", "has to stay where it is.")):
        wide = cv2.getTextSize(words, cv2.FONT_HERSHEY_SIMPLEX, unit, thick)[0][0]
        text(words, (width - wide) / 2, height * (0.86 + 0.08 * k), 1, thick)
    text("12:34  HP 087  x3", 0.04 * width, 0.08 * height, 0.6, max(1, thick - 1))
    ring = (round(0.91 * width), round(0.09 * height)), round(20 * unit)
    cv2.circle(covers, *ring, 255, thick + 4, cv2.LINE_AA)
    cv2.circle(luma, *ring, WHITE, thick, cv2.LINE_AA)

    cross, (x, y), arm = np.zeros((height, width), np.uint8), (width // 2, height // 2), round(24 * unit)
    for reach in (slice(-arm, -arm // 4), slice(arm // 4 + 1, arm + 1)):
        cross[y, x + reach.start : x + reach.stop] = 255
        cross[y + reach.start : y + reach.stop, x] = 255
    luma[cross > 0] = WHITE
    edge = cv2.dilate(cross, np.ones((3, 3), np.uint8))
    return np.float32(luma), np.float32(cv2.max(covers, edge)) / 255, edge > 0


def laid_over(frames, luma, covers):
    """The frames with the overlay, which has no colour."""
    data = np.array(frames.data)
    out = Frames(data, frames.width, frames.height)
    small = cv2.resize(covers, out.sizes[1][::-1], interpolation=cv2.INTER_AREA)
    for n in range(len(out)):
        for plane, over, share in zip(out.planes(n), (luma, 128, 128), (covers, small, small)):
            plane[:] = np.rint(plane + share * (over - np.float32(plane)))
    return out


def ours(kept, quality):
    """The element's frames."""
    with tempfile.TemporaryDirectory() as folder:
        source, sink = (pathlib.Path(folder) / name for name in ("kept.y4m", "made.mkv"))
        write(source, [kept.planes(n) for n in range(len(kept))])
        element = f"videointerpolate quality={quality} qos=false multiplier=2"
        line = f"filesrc location={source} ! y4mdec ! {element} ! avenc_ffv1 ! matroskamux ! filesink location={sink}"
        subprocess.run(["gst-launch-1.0", "--quiet", *line.split()], check=True)
        made = read(sink)
    return middles(kept, made.luma)


def gradients(luma, where):
    """Sum of the squares of the differences to the right and down."""
    luma = np.float64(luma)
    squares = np.zeros_like(luma)
    squares[:, :-1] += np.diff(luma, axis=1) ** 2
    squares[:-1] += np.diff(luma, axis=0) ** 2
    return squares[where].sum()


def scores(made, truths, covers, cross):
    """PSNR, off of the letters, off of the cross, sharp: see above."""
    around = cv2.dilate(np.uint8(covers > 0), np.ones((2 * AROUND + 1, 2 * AROUND + 1))) > 0
    letters = (covers > 0.99) & ~cross
    off = lambda a, b, where: np.abs(np.float64(a[where]) - b[where]).mean()
    each = [
        (psnr(a[around], b[around]), off(a, b, letters), off(a, b, cross), gradients(a, around) / gradients(b, around))
        for a, b in zip(made, truths)
    ]
    return np.mean(each, 0)


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("clips", type=pathlib.Path, nargs="+")
    p.add_argument("--quality", nargs="+", default=["balanced"])
    p.add_argument("--write", type=pathlib.Path, metavar="FOLDER")
    args = p.parse_args()
    cv2.setNumThreads(1)
    names = [*args.quality, *RIVALS]
    row("clip", ["method", "PSNR", "letters off", "cross off", "sharp"])
    print("|---" * 6 + "|")

    def rows(clip, found):
        for name, (db, letters, thin, sharp) in zip(names, found):
            row(clip, [name, f"{db:.2f}", f"{letters:.2f}", f"{thin:.2f}", f"{sharp:.3f}"])

    found = []
    for path in videos(args.clips):
        frames = read(path)
        luma, covers, cross = drawn(frames.width, frames.height)
        frames = laid_over(frames, luma, covers)
        kept = frames.kept()
        made = [*(ours(kept, quality) for quality in args.quality), *(METHODS[name](kept) for name in RIVALS)]
        truths = [frames.luma(2 * n + 1) for n in range(len(kept) - 1)]
        found.append([scores(m, truths, covers, cross) for m in made])
        rows(path.stem, found[-1])
        if args.write:
            args.write.mkdir(parents=True, exist_ok=True)
            n = len(truths) // 2
            cv2.imwrite(str(args.write / f"{path.stem}.png"), np.vstack([truths[n], *(m[n] for m in made)]))
    rows("mean", np.mean(found, 0))


if __name__ == "__main__":
    main()
