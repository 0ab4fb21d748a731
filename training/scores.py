"""How alike two luma planes are, as examples/evaluate has it: PSNR, SSIM, and a clip's worst frames."""

import cv2
import numpy as np

# Percentile of a clip's frames that is called its worst.
WORST = 5
# SSIM's Gaussian window (Wang et al., 2004), and its constants for 8 bits.
TAPS, DEVIATION = 11, 1.5
C1, C2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2


def psnr(a, b):
    """dB of u8 planes; 100 for equal ones."""
    error = np.square(a.astype(np.float64) - b).mean()
    return 10 * np.log10(255**2 / error) if error else 100.0


def ssim(a, b):
    """Structural similarity of u8 planes, mean over where the window lies inside."""
    a, b = a.astype(np.float32), b.astype(np.float32)
    edge = TAPS // 2
    mean = lambda x: cv2.GaussianBlur(x, (TAPS, TAPS), DEVIATION)[edge:-edge, edge:-edge].astype(np.float64)
    ma, mb = mean(a), mean(b)
    va, vb, cov = mean(a * a) - ma * ma, mean(b * b) - mb * mb, mean(a * b) - ma * mb
    return float(((2 * ma * mb + C1) * (2 * cov + C2) / ((ma * ma + mb * mb + C1) * (va + vb + C2))).mean())


def worst(scores):
    """The score that the worst frames lie below, between the sorted ones by straight lines."""
    return float(np.percentile(scores, WORST))
