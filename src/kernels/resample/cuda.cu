// Halving, doubling, means. All are limited by memory: a few operations for each value read and written.
//
// resample_half: a thread a value of the output.
//   Raster<const float> input [h, w, c], Raster<float> out [ceil(h / 2), ceil(w / 2), c]
// resample_half_f16: the same of __half, eight channels a thread: 32 x 8 threads over (h, ceil(c / 8) w).
// resample_half_smooth: the same of one channel, from 4x4 pixels.
// resample_double: a thread a value. Fuses `double` (null detail, factor 1) and `double_and_add`.
//   Raster<const float> input [ceil(h / 2), ceil(w / 2), c], float factor, Raster<const float> detail [h, w, c] or null,
//   Raster<float> out [h, w, c]
// resample_mean: a thread a pixel.
//   Raster<const float> input [h, w, c], Raster<float> out [h, w, 1]
// resample_row_sums: a warp a row; the caller adds the sums in their order.
//   Raster<const float> input [h, w, 1], Raster<float> out [1, h, 1]
// Grids: 32 x 8 threads over (h, c w) of the output; of the row sums 32 threads a block and a block a row.
#include "../cuda/half.cuh"

// `reference::half` of four pixels.
__device__ float mean_of(float a, float b, float c, float d) { return (a + b + c + d) * 0.25f; }

KERNEL resample_half(Raster<const float> input, Raster<float> out) {
    int x = column() / out.channels, c = column() % out.channels, y = row();
    if (!out.has(y, x)) return;
    int below = min(2 * y + 1, input.height - 1), beside = min(2 * x + 1, input.width - 1);
    const float *upper = input.at(2 * y, 2 * x), *lower = input.at(below, 2 * x);
    out.at(y, x)[c] = mean_of(upper[c], input.at(2 * y, beside)[c], lower[c], input.at(below, beside)[c]);
}
EXPORT(resample_half)

KERNEL resample_half_f16(Raster<const __half> input, Raster<__half> out) {
    const int N = 8;
    int groups = (out.channels + N - 1) / N, x = column() / groups, first = column() % groups * N, y = row();
    if (!out.has(y, x)) return;
    int below = min(2 * y + 1, input.height - 1), beside = min(2 * x + 1, input.width - 1);
    const __half *a = input.at(2 * y, 2 * x) + first, *b = input.at(2 * y, beside) + first;
    const __half *c = input.at(below, 2 * x) + first, *d = input.at(below, beside) + first;
    __half* to = out.at(y, x) + first;
    if (first + N > out.channels) {
        for (int i = 0; i < out.channels - first; i++) write(to + i, mean_of(read(a + i), read(b + i), read(c + i), read(d + i)));
        return;
    }
    Run<float, N> means = read_run<N>(a), right = read_run<N>(b), lower = read_run<N>(c), corner = read_run<N>(d);
#pragma unroll
    for (int i = 0; i < N; i++) means.values[i] = mean_of(means.values[i], right.values[i], lower.values[i], corner.values[i]);
    write_run<N>(to, means);
}
EXPORT(resample_half_f16)

__device__ float weighted(float a, float b, float c, float d) { return 0.125f * (a + d) + 0.375f * (b + c); }

KERNEL resample_half_smooth(Raster<const float> input, Raster<float> out) {
    int x = column(), y = row();
    if (!out.has(y, x)) return;
    float down[4];
    for (int i = 0; i < 4; i++) {
        int sx = inside(2 * x - 1 + i, input.width);
        float v[4];
        for (int j = 0; j < 4; j++) v[j] = *input.at(inside(2 * y - 1 + j, input.height), sx);
        down[i] = weighted(v[0], v[1], v[2], v[3]);
    }
    *out.at(y, x) = weighted(down[0], down[1], down[2], down[3]);
}
EXPORT(resample_half_smooth)

KERNEL resample_double(Raster<const float> input, float factor, Raster<const float> detail, Raster<float> out) {
    int x = column() / out.channels, c = column() % out.channels, y = row();
    if (!out.has(y, x)) return;
    Taps ty = neighbours(y, input.height), tx = neighbours(x, input.width);
    float near = 0.75f * input.at(ty.first, tx.first)[c] + 0.25f * input.at(ty.second, tx.first)[c];
    float far = 0.75f * input.at(ty.first, tx.second)[c] + 0.25f * input.at(ty.second, tx.second)[c];
    float added = detail.data ? detail.at(y, x)[c] : 0.0f;
    out.at(y, x)[c] = added + factor * (0.75f * near + 0.25f * far);
}
EXPORT(resample_double)

KERNEL resample_mean(Raster<const float> input, Raster<float> out) {
    int x = column(), y = row();
    if (!out.has(y, x)) return;
    const float* pixel = input.at(y, x);
    float sum = 0.0f;
    for (int c = 0; c < input.channels; c++) sum += pixel[c];
    *out.at(y, x) = sum * (1.0f / (float)input.channels);
}
EXPORT(resample_mean)

KERNEL resample_row_sums(Raster<const float> input, Raster<float> out) {
    int y = blockIdx.x;
    float sum = 0.0f;
    for (int x = threadIdx.x; x < input.width; x += WARP) sum += *input.at(y, x);
    sum = warp_sum(sum);
    if (threadIdx.x == 0) *out.at(0, y) = sum;
}
EXPORT_COOPERATIVE(resample_row_sums)
