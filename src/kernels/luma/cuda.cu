// Luma in bytes.
//
// luma_gather: a thread a cell.
//   Raster<const float> luma              [h, w, 4 or more]: the 2x2 pixels
//   Raster<u8> whole, half                [2h, 2w, 1] and [h, w, 1]
// Grid: 32 x 8 threads over (h, w). Of the view of a picture the kernel `view` has done it already.
//
// luma_warp: a thread a sample.
//   Raster<const u8> luma                 [H, W, 1]
//   Raster<const float> flow              [h, w, 2]
//   float scale                           samples that a unit of flow is
//   Raster<i16> out                       [4h + 4, 4w + 4 or more, 1]
// Grid: 32 x 8 threads over out. 60 operations for the 2 bytes written; flow comes from the first cache.
//
// luma_differences: 16 threads a cell, 8 x 4 cells a block. Fuses `luma::warp` of both sides and `luma::differences`: no warped
// sample is written (4 bytes a sample, and as many read again); the sums are whole numbers, so that their order does not matter.
//   Raster<const u8> left, right          [H, W, 1] each
//   Raster<const float> flow              [h, w, 4 a hypothesis]: to the left, to the right (x, y)
//   float scale
//   Raster<float> out0, out1              [h, w, 1]: of the flow's first and second four channels
// Grid: 128 x 4 threads over (h, 16 w); z is the hypothesis.
#include "code.cuh"
#include "sample.cuh"

KERNEL luma_gather(Raster<const float> luma, Raster<u8> whole, Raster<u8> half) {
    int x = column(), y = row();
    if (luma.has(y, x)) gather(luma.at(y, x), y, x, whole, half);
}
EXPORT(luma_gather)

KERNEL luma_warp(Raster<const u8> luma, Raster<const float> flow, float scale, Raster<i16> out) {
    int x = column(), y = row();
    if (!out.has(y, x)) return;
    int sy = inside(y - BORDER, SAMPLES * flow.height), sx = inside(x - BORDER, SAMPLES * flow.width);
    *out.at(y, x) = (i16)moved_sample(luma, flow, 0, scale, sy, sx);
}
EXPORT(luma_warp)

KERNEL luma_differences(Raster<const u8> left, Raster<const u8> right, Raster<const float> flow, float scale, Raster<float> out0,
                        Raster<float> out1) {
    // Sixteen neighbours make a cell; a warp has two cells, and all of it stays for the sum.
    int x = column() / 16, y = row(), i = threadIdx.x % 16;
    bool has = flow.has(y, x);
    int sum = 0;
    if (has) {
        int first = 4 * blockIdx.z, sy = SAMPLES * y + i / 4, sx = SAMPLES * x + i % 4;
        sum = abs(moved_sample(left, flow, first, scale, sy, sx) - moved_sample(right, flow, first + 2, scale, sy, sx));
    }
    for (int by = 8; by > 0; by /= 2) sum += __shfl_xor_sync(ALL, sum, by);
    if (has && i == 0) *(blockIdx.z == 0 ? out0 : out1).at(y, x) = mean_of_cell(sum);
}
EXPORT_COOPERATIVE(luma_differences)
