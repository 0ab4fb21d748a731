// Luma in bytes moved by a flow of the cells.
#pragma once
#include "../moved/moved.cuh"

const int SAMPLES = CELL, BORDER = 2;
const float STEPS = 16.0f;

// A sum of the steps of a cell's samples as a mean of luma of range 1.
__device__ inline float mean_of_cell(unsigned sum) { return (float)sum * (1.0f / ((float)(SAMPLES * SAMPLES) * STEPS * 255.0f)); }

// From which luma pixel component c of the flow counts at sample (y, x), `scale` times of it.
__device__ inline int base_at(const Raster<const float>& flow, int y, int x, int c, float scale) {
    int my = middle_of(y, BAND_BITS, SAMPLES * flow.height), mx = middle_of(x, TILE_BITS, SAMPLES * flow.width);
    return base_of(scale * flow.at(my / SAMPLES, mx / SAMPLES)[c]);
}

// Component c of the flow at sample (y, x), `scale` times of it, in steps.
__device__ inline int moved(const Raster<const float>& flow, int y, int x, int c, float scale) {
    int base = base_at(flow, y, x, c, scale);
    Between py = place_of(y, 0), px = place_of(x, 0);
    int y0 = inside(py.first, flow.height), y1 = inside(py.first + 1, flow.height), columns[2];
    for (int i = 0; i < 2; i++) {
        int cx = inside(px.first + i, flow.width);
        columns[i] = between(steps(scale * flow.at(y0, cx)[c], base), steps(scale * flow.at(y1, cx)[c], base), py.eighths);
    }
    return base * (1 << FLOW_BITS) + between(columns[0], columns[1], px.eighths);
}

// What lies at (y, x) and right of it, below it, and right below, a byte each from the lowest on, the edge repeated: `luma_quads`. So that what a
// sample lies between is read at once.
typedef unsigned Quad;

// What a positive sample, of 12 bits, has more than one of `luma::reference::samples`.
const int MORE = 2048;

// The sample at a place in 128ths, positive.
__device__ inline int sample_at(const Raster<const Quad>& luma, int y, int x) {
    y = min(max(y, 0), (luma.height - 1) * PLACES);
    x = min(max(x, 0), (luma.width - 1) * PLACES);
    CHECK(luma.pixel == 1);
    Quad quad = luma.data[(y >> PLACE_BITS) * luma.row + (x >> PLACE_BITS)];
    int share_y = y & (PLACES - 1), share_x = x & (PLACES - 1);
    // `side_of_eight_bits`, with both weights of x in one word
    unsigned weights = (unsigned)PLACES + (unsigned)share_x * 0xffff;
    int above = (int)__dp2a_lo(weights, quad, 0u), below = (int)__dp2a_hi(weights, quad, 0u);
    // less 128 codes, divided by 8 and MORE added is
    return (above + ((share_y * (below - above) + PLACES / 2) >> PLACE_BITS) + 4) >> 3;
}

// Sample (y, x), which lies in the flow's cells, along its channels `first` and `first + 1`; positive.
__device__ inline int moved_sample(const Raster<const Quad>& luma, const Raster<const float>& flow, int first, float scale, int y,
                                   int x) {
    return sample_at(luma, y * PLACES + moved(flow, y, x, first + 1, scale), x * PLACES + moved(flow, y, x, first, scale));
}

// Component c of the flow at the four samples of row y that lie in the cells of column `cell`, as `moved`.
__device__ inline void moved_row(const Raster<const float>& flow, int y, int cell, int c, float scale, int out[SAMPLES]) {
    int base = base_at(flow, y, SAMPLES * cell, c, scale), columns[3];
    Between py = place_of(y, 0);
    int y0 = inside(py.first, flow.height), y1 = inside(py.first + 1, flow.height);
    for (int i = 0; i < 3; i++) {
        int x = inside(cell - 1 + i, flow.width);
        columns[i] = between(steps(scale * flow.at(y0, x)[c], base), steps(scale * flow.at(y1, x)[c], base), py.eighths);
    }
    for (int i = 0; i < SAMPLES; i++) {
        int before = i / (SAMPLES / 2);
        int way = way_of(columns[before], columns[before + 1]);
        out[i] = along(base * (1 << FLOW_BITS) + columns[before], way, (2 * i + 1 + CELL) % 8);
    }
}
