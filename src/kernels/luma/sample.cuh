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

// A sample between four codes.
__device__ inline int sample_of(const int codes[4], int share_x, int share_y) {
    int value = side_of_eight_bits(codes, share_x, share_y) - (128 << PLACE_BITS);
    return (value + 4) >> 3;
}

// The same where it is read.
__device__ inline int sample_between(const Raster<const u8>& luma, const Neighbours& py, const Neighbours& px) {
    const u8 *upper = luma.at(py.first, 0), *lower = luma.at(py.second, 0);
    int a = px.first * luma.pixel, b = px.second * luma.pixel;
    int codes[4] = {upper[a], upper[b], lower[a], lower[b]};
    return sample_of(codes, px.share, py.share);
}

// Sample (y, x) of luma moved by so many steps.
__device__ inline int sample_at(const Raster<const u8>& luma, int y, int x, int by_y, int by_x) {
    return sample_between(luma, neighbours_of(y, luma.height, by_y, 0), neighbours_of(x, luma.width, by_x, 0));
}

// A sample of `luma::reference::samples`, of the flow's channels `first` and `first + 1`; (y, x) lies in the cells of the flow.
__device__ inline int moved_sample(const Raster<const u8>& luma, const Raster<const float>& flow, int first, float scale, int y,
                                   int x) {
    return sample_at(luma, y, x, moved(flow, y, x, first + 1, scale), moved(flow, y, x, first, scale));
}
