"""Motion between two pictures by dense inverse search (Kroeger et al., 2016), for training.

OpenCV's, with the settings that src/kernels/search follows; the network begins from it.
"""

import cv2
import numpy as np

# Pixels of a cell.
CELL = 8


def searcher(finest):
    """Searches down to pictures of 1 / 2**finest of the size."""
    dis = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    dis.setFinestScale(finest)
    dis.setPatchSize(8)
    dis.setPatchStride(4)
    dis.setGradientDescentIterations(16)
    dis.setVariationalRefinementIterations(0)
    dis.setUseSpatialPropagation(True)
    return dis


def found(dis, left, right):
    """Luma [H, W] u8, H and W multiples of CELL -> [4, H/8, W/8] f32 in cells: of the left picture's
    pixels to the right one x, y, of the right one's to the left x, y."""
    return np.concatenate((motion(dis, left, right), motion(dis, right, left)))


def told(dis, left, truth, right):
    """What only training can know: motion from the picture between two others to both of them.

    Luma as for found -> [4, H/8, W/8] f32 in cells, to the left one x, y, to the right one x, y.
    """
    return np.concatenate((motion(dis, truth, left), motion(dis, truth, right)))


def motion(dis, a, b):
    """[2, H/8, W/8] in cells, from a's pixels to b x, y."""
    h, w = a.shape
    flow = dis.calc(np.ascontiguousarray(a), np.ascontiguousarray(b), None)
    return cv2.resize(flow, (w // CELL, h // CELL), interpolation=cv2.INTER_AREA).transpose(2, 0, 1) / CELL
