// Where a sample comes from, and what it is, in fixed point: `cells.rs` and `reference.rs`.
#pragma once
#include "../cuda/common.cuh"

const int CELL = 4, BAND_BITS = 4, TILE_BITS = 11, FLOW_BITS = 7, PLACE_BITS = 7, PLACES = 1 << PLACE_BITS, WHOLE = 1 << 14;
const float NEAR = 128.0f, FAR = 1e6f;

// The nearest whole number that 16 bits have, the even one of two.
__device__ inline int rounded(float value) { return (int)rintf(fminf(fmaxf(value, -32768.0f), 32767.0f)); }

__device__ inline int steps(float value, int base) {
    value = value != value ? 0.0f : fminf(fmaxf(value, -FAR), FAR);
    return rounded((value - (float)base) * (float)(1 << FLOW_BITS));
}

// From a to b, numbers of 16 bits.
__device__ inline int way_of(int a, int b) { return min(max(b - a, -32768), 32767); }
// So many eighths of a way on.
__device__ inline int along(int from, int way, int eighths) { return from + ((way * eighths + 4) >> 3); }
// `cells::between`: between a and b, numbers of 16 bits.
__device__ inline int between(int a, int b, int eighths) { return along(a, way_of(a, b), eighths); }

// The middle of the tile of 1 << bits pixels that pixel i, of so many, lies in.
__device__ inline int middle_of(int i, int bits, int size) {
    int first = i >> bits << bits;
    return (first + min(first + (1 << bits), size)) / 2;
}

// The luma pixels from which the flows of a tile count that has this flow in its middle.
__device__ inline int base_of(float middle) {
    float length = fabsf(middle);
    return length > NEAR && length < FAR ? (int)middle & ~1 : 0;
}

// Where a sample lies between the cells of an axis: from cell `first` (that before the first is -1) so many eighths on.
struct Between {
    int first, eighths;
};

__device__ inline Between place_of(int i, int sub) {
    int eighths = ((2 * i + 1) << sub) + CELL;
    return {eighths / 8 - 1, eighths % 8};
}

// Two neighbours on an axis, and the place between them in 128ths.
struct Neighbours {
    int first, second, share;
};

__device__ inline Neighbours neighbours_of(int at, int size, int flow, int sub) {
    int bits = FLOW_BITS + sub, last = size - 1;
    at = min(max((at << bits) + flow, 0), last << bits);
    int whole = at >> bits;
    return {whole, min(whole + 1, last), (at - (whole << bits)) >> (bits - PLACE_BITS)};
}

// Between the codes above (left, right) and below, in 128ths of a code.
__device__ inline int side_of_eight_bits(const int codes[4], int tx, int ty) {
    int above = PLACES * codes[0] + tx * (codes[1] - codes[0]), below = PLACES * codes[2] + tx * (codes[3] - codes[2]);
    return above + ((ty * (below - above) + PLACES / 2) >> PLACE_BITS);
}
