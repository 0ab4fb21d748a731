// Full-size tensors, each value by itself or with its neighbours. All are limited by memory.
//
// picture_copy: a picture to where its values lie otherwise apart; picture_copy_half: to __half.
//   Raster<const float> picture, Raster<float> out   [h, w, c]
// picture_fill: one value.
//   float value, Raster<float> out        [h, w, c]
// picture_map: what becomes of each value by itself.
//   Raster<const float> values            [h, w, c]
//   int change                            0: less `by`, 1: times `by`, 2: its sigmoid
//   float by, Raster<float> out           [h, w, c]
// picture_lower: less the mean.
//   Raster<const float> values            [h, w, c]
//   Raster<const float> mean              [1, 1, 1]
//   Raster<float> out                     [h, w, c]
// picture_add_weighted: more, times a factor and the weights of row and column, which are null where there are none.
//   float factor
//   Raster<const float> rows, columns     [1, h, 1], [1, w, 1]
//   Raster<const float> values            [h, w, c]
//   Raster<float> out                     [h, w, c]
// picture_add_clamped: a sum within 0 to 1.
//   Raster<const float> image, residual, Raster<float> out   [h, w, c]
// picture_extend: the edge of the first pixels all over the rest.
//   int height, width, Raster<float> out  [h, w, c]
// picture_blend: both sides warped and weighted; picture_blend_half: sides of __half.
//   Raster<const float> left, right       [h, w, c]
//   Raster<const float> motion            [h, w, 5]
//   Raster<float> out                     [h, w, c]
// picture_quarter: means of 4x4 pixels.
//   Raster<const float> full              [4 h, 4 w, c]
//   Raster<float> out                     [h, w, c]
// Grids: blocks of 32 x 8 threads over (h, w c), a thread a value.
//
// picture_row_sums: of all channels. A warp a row.
//   Raster<const float> values            [h, w, c]
//   Raster<float> out                     [1, h, 1]
// Grid: 32 threads a block, a block a row.
//
// picture_mean: of two pictures.
//   Raster<const float> left, right       [1, h, 1]: the sums of their rows
//   int count                             values of a row
//   Raster<float> out                     [1, 1, 1]
// One block of 32 threads.
//
// picture_differ: 1 where any byte of two pieces of memory is another; nothing is written else.
//   Raster<const u8> left, right          [1, n, 1]
//   Raster<float> out                     [1, 1, 1]
// Grid: blocks of 256 threads over n, a thread a byte.
#include "../cuda/half.cuh"

// The value of this thread.
struct Value {
    int y, x, c;
};
template <class T>
__device__ Value value_of(const Raster<T>& out) {
    return {row(), column() / out.channels, column() % out.channels};
}

template <class T>
__device__ void copied(const Raster<const float>& picture, const Raster<T>& out) {
    Value v = value_of(out);
    if (out.has(v.y, v.x)) write(out.at(v.y, v.x) + v.c, picture.at(v.y, v.x)[v.c]);
}

KERNEL picture_copy(Raster<const float> picture, Raster<float> out) { copied(picture, out); }
EXPORT(picture_copy)
KERNEL picture_copy_half(Raster<const float> picture, Raster<__half> out) { copied(picture, out); }
EXPORT(picture_copy_half)

KERNEL picture_fill(float value, Raster<float> out) {
    Value v = value_of(out);
    if (out.has(v.y, v.x)) out.at(v.y, v.x)[v.c] = value;
}
EXPORT(picture_fill)

KERNEL picture_map(Raster<const float> values, int change, float by, Raster<float> out) {
    Value v = value_of(out);
    if (!out.has(v.y, v.x)) return;
    float value = values.at(v.y, v.x)[v.c];
    out.at(v.y, v.x)[v.c] = change == 0 ? value - by : change == 1 ? by * value : sigmoid(value);
}
EXPORT(picture_map)

KERNEL picture_lower(Raster<const float> values, Raster<const float> mean, Raster<float> out) {
    Value v = value_of(out);
    if (out.has(v.y, v.x)) out.at(v.y, v.x)[v.c] = values.at(v.y, v.x)[v.c] - *mean.at(0, 0);
}
EXPORT(picture_lower)

KERNEL picture_add_weighted(float factor, Raster<const float> rows, Raster<const float> columns, Raster<const float> values,
                            Raster<float> out) {
    Value v = value_of(out);
    if (!out.has(v.y, v.x)) return;
    float weight = rows.data ? *rows.at(0, v.y) * *columns.at(0, v.x) : factor;
    out.at(v.y, v.x)[v.c] += weight * values.at(v.y, v.x)[v.c];
}
EXPORT(picture_add_weighted)

KERNEL picture_add_clamped(Raster<const float> image, Raster<const float> residual, Raster<float> out) {
    Value v = value_of(out);
    if (!out.has(v.y, v.x)) return;
    float sum = image.at(v.y, v.x)[v.c] + residual.at(v.y, v.x)[v.c];
    out.at(v.y, v.x)[v.c] = fminf(fmaxf(sum, 0.0f), 1.0f);
}
EXPORT(picture_add_clamped)

// Reads within the first pixels alone, and writes beyond them.
KERNEL picture_extend(int height, int width, Raster<float> out) {
    Value v = value_of(out);
    if (!out.has(v.y, v.x) || (v.y < height && v.x < width)) return;
    out.at(v.y, v.x)[v.c] = out.at(min(v.y, height - 1), min(v.x, width - 1))[v.c];
}
EXPORT(picture_extend)

template <class T>
__device__ float fetched(const Raster<const T>& side, const Value& v, const float* flow) {
    Taps ty = taps((float)v.y + flow[1], side.height), tx = taps((float)v.x + flow[0], side.width);
    float above = lerp(read(side.at(ty.first, tx.first) + v.c), read(side.at(ty.first, tx.second) + v.c), tx.share);
    float below = lerp(read(side.at(ty.second, tx.first) + v.c), read(side.at(ty.second, tx.second) + v.c), tx.share);
    return lerp(above, below, ty.share);
}

template <class T>
__device__ void blended(const Raster<const T>& left, const Raster<const T>& right, const Raster<const float>& motion, const Raster<float>& out) {
    const int MASK = 4;
    Value v = value_of(out);
    if (!out.has(v.y, v.x)) return;
    const float* m = motion.at(v.y, v.x);
    out.at(v.y, v.x)[v.c] = fetched(left, v, m) * m[MASK] + fetched(right, v, m + 2) * (1.0f - m[MASK]);
}

KERNEL picture_blend(Raster<const float> left, Raster<const float> right, Raster<const float> motion, Raster<float> out) {
    blended(left, right, motion, out);
}
EXPORT(picture_blend)
KERNEL picture_blend_half(Raster<const __half> left, Raster<const __half> right, Raster<const float> motion, Raster<float> out) {
    blended(left, right, motion, out);
}
EXPORT(picture_blend_half)

KERNEL picture_quarter(Raster<const float> full, Raster<float> out) {
    const int CELL = 4;
    Value v = value_of(out);
    if (!out.has(v.y, v.x)) return;
    float sum = 0.0f;
    for (int y = CELL * v.y; y < CELL * (v.y + 1); y++)
        for (int x = CELL * v.x; x < CELL * (v.x + 1); x++) sum += full.at(y, x)[v.c] / (float)(CELL * CELL);
    out.at(v.y, v.x)[v.c] = sum;
}
EXPORT(picture_quarter)

KERNEL picture_row_sums(Raster<const float> values, Raster<float> out) {
    int y = blockIdx.x, count = values.width * values.channels;
    float sum = 0.0f;
    for (int i = threadIdx.x; i < count; i += WARP) sum += values.at(y, i / values.channels)[i % values.channels];
    sum = warp_sum(sum);
    if (threadIdx.x == 0) *out.at(0, y) = sum;
}
EXPORT_COOPERATIVE(picture_row_sums)

KERNEL picture_mean(Raster<const float> left, Raster<const float> right, int count, Raster<float> out) {
    __shared__ double sums[2][WARP];
    int lane = threadIdx.x;
    for (int side = 0; side < 2; side++) {
        const Raster<const float>& rows = side ? right : left;
        double sum = 0.0;
        for (int y = lane; y < rows.width; y += WARP) sum += *rows.at(0, y);
        sums[side][lane] = sum;
    }
    __syncthreads();
    if (lane > 0) return;
    float means[2];
    for (int side = 0; side < 2; side++) {
        double sum = 0.0;
        for (unsigned i = 0; i < WARP; i++) sum += sums[side][i];
        means[side] = (float)(sum / ((double)left.width * count));
    }
    *out.at(0, 0) = (means[0] + means[1]) / 2.0f;
}
EXPORT_COOPERATIVE(picture_mean)

KERNEL picture_differ(Raster<const u8> left, Raster<const u8> right, Raster<float> out) {
    int x = column();
    // whoever writes writes the same
    if (left.has(0, x) && *left.at(0, x) != *right.at(0, x)) *out.at(0, 0) = 1.0f;
}
EXPORT(picture_differ)
