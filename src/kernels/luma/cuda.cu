// Luma in bytes.
//
// luma_gather: a thread a cell.
//   Raster<const float> luma              [h, w, 4 or more]: the 2x2 pixels
//   Raster<u8> whole, half                [2h, 2w, 1] and [h, w, 1]
// Grid: 32 x 8 threads over (h, w). Of the view of a picture the kernel `view` has done it already.
//
// luma_quads: a thread a sample.
//   Raster<const u8> luma                 [H, W, 1]
//   Raster<Quad> out                      [H, W, 1]
// Grid: 32 x 8 threads over out. Limited by memory: 4 bytes written for one read.
//
// luma_warp: a thread a sample.
//   Raster<const Quad> luma               [H, W, 1]
//   Raster<const float> flow              [h, w, 2]
//   float scale                           samples that a unit of flow is
//   Raster<i16> out                       [4h + 4, 4w + 4 or more, 1]
// Grid: 32 x 8 threads over out. 60 operations for the 2 bytes written; flow comes from the first cache.
//
// luma_differences: 4 threads a cell, a row of it each, 32 x 4 cells a block. Fuses `luma::warp` of both sides and `luma::differences`: no warped
// sample is written (4 bytes a sample, and as many read again); the sums are whole numbers, so that their order does not matter.
//   Raster<const Quad> left, right        [H, W, 1] each
//   Raster<const float> flow              [h, w, 4 a hypothesis]: to the left, to the right (x, y)
//   float scale
//   Raster<float> out0, out1              [h, w, 1]: of the flow's first and second four channels
// Grid: 128 x 4 threads over (h, 4 w); z is the hypothesis. Limited by instructions, some 60 a sample and side.
#include "code.cuh"
#include "sample.cuh"

KERNEL luma_gather(Raster<const float> luma, Raster<u8> whole, Raster<u8> half) {
    int x = column(), y = row();
    if (luma.has(y, x)) gather(luma.at(y, x), y, x, whole, half);
}
EXPORT(luma_gather)

KERNEL luma_quads(Raster<const u8> luma, Raster<Quad> out) {
    int x = column(), y = row();
    if (!out.has(y, x)) return;
    int right = min(x + 1, luma.width - 1), below = min(y + 1, luma.height - 1);
    *out.at(y, x) = (Quad)*luma.at(y, x) | (Quad)*luma.at(y, right) << 8 | (Quad)*luma.at(below, x) << 16 | (Quad)*luma.at(below, right) << 24;
}
EXPORT(luma_quads)

KERNEL luma_warp(Raster<const Quad> luma, Raster<const float> flow, float scale, Raster<i16> out) {
    int x = column(), y = row();
    if (!out.has(y, x)) return;
    int sy = inside(y - BORDER, SAMPLES * flow.height), sx = inside(x - BORDER, SAMPLES * flow.width);
    *out.at(y, x) = (i16)(moved_sample(luma, flow, 0, scale, sy, sx) - MORE);
}
EXPORT(luma_warp)

// Of the four samples of row y in the cells of column `cell`.
__device__ void moved_samples(const Raster<const Quad>& luma, const Raster<const float>& flow, int first, float scale, int y, int cell,
                              int out[SAMPLES]) {
    int by_x[SAMPLES], by_y[SAMPLES];
    moved_row(flow, y, cell, first, scale, by_x);
    moved_row(flow, y, cell, first + 1, scale, by_y);
    for (int i = 0; i < SAMPLES; i++) out[i] = sample_at(luma, y * PLACES + by_y[i], (SAMPLES * cell + i) * PLACES + by_x[i]);
}

KERNEL luma_differences(Raster<const Quad> left, Raster<const Quad> right, Raster<const float> flow, float scale, Raster<float> out0,
                        Raster<float> out1) {
    // Four neighbours make a cell; all threads of a warp stay for the sum.
    int x = column() / SAMPLES, y = row(), i = threadIdx.x % SAMPLES;
    bool has = flow.has(y, x);
    int sum = 0;
    if (has) {
        int first = 4 * blockIdx.z, lefts[SAMPLES], rights[SAMPLES];
        moved_samples(left, flow, first, scale, SAMPLES * y + i, x, lefts);
        moved_samples(right, flow, first + 2, scale, SAMPLES * y + i, x, rights);
        for (int j = 0; j < SAMPLES; j++) sum += abs(lefts[j] - rights[j]);
    }
    for (int by = SAMPLES / 2; by > 0; by /= 2) sum += __shfl_xor_sync(ALL, sum, by);
    if (has && i == 0) *(blockIdx.z == 0 ? out0 : out1).at(y, x) = mean_of_cell(sum);
}
EXPORT_COOPERATIVE(luma_differences)
