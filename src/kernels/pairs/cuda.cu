// What compares all places of one picture with all of the other.
//
// pairs_look_up: how alike features are around where a pixel moves to.
//   Raster<const float> features          [h, w, d]
//   Levels other                          each [h', w', d], half the size of the one before
//   Raster<const float> flow              [h, w, 2], in cells of the finest level
//   Raster<const float> share             [h, w, 1]
//   int is_other                          whether what the share lacks to 1 counts instead
//   Raster<float> out                     [h, w, 49 levels]
// Grid: a block of 64 threads for each pixel (x, y) and level (z), a thread a product.
//
// pairs_row_moments: of each row and channel the sum of the values, or of the squares of what they are off the mean.
//   Raster<const float> input             [h, w, c]
//   int squared
//   Raster<const float> moments           [1, 2, c]: means, and one over the deviations
//   Raster<float> rows                    [1, h, c]
// Grid: blocks of 32 x 8 threads over (h, c).
// pairs_moments: the means from the sums, or one over the deviations from the squares. A thread a channel.
//   Raster<const float> rows              [1, h, c]
//   int width                             of what was added up
//   int squared
//   Raster<float> moments                 [1, 2, c]
// pairs_standardise: each channel brought to mean 0 and variance 1, nothing below `least`.
//   Raster<const float> input, moments, float least, Raster<float> out
// pairs_resize: made larger or smaller bilinearly, times a gain.
//   Raster<const float> input             [h, w, c]
//   float gain, Raster<float> out         [h', w', c]
// Grids of the last two: blocks of 32 x 8 threads over (h, w c) of the output, a thread a value.
#include "../cuda/common.cuh"

const int LEVELS = 4, RADIUS = 3, SIDE = 2 * RADIUS + 1;
// Of what a lookup lies between.
const int PRODUCTS = SIDE + 1;
const double EPSILON = 1e-5;

struct Levels {
    Raster<const float> values[LEVELS];
};

// The cell before a place, and the share of the one behind it. What lies far outside reads nothing wherever it is.
struct Place {
    int cell;
    float share;
};
__device__ Place place_of(float position, int size) {
    float before = floorf(position);
    float near = fminf(fmaxf(before, -2.0f * PRODUCTS), (float)size + 2.0f * PRODUCTS);
    return {(int)near, position - before};
}

KERNEL pairs_look_up(Raster<const float> features, Levels other, Raster<const float> flow, Raster<const float> share, int is_other,
                     Raster<float> out) {
    __shared__ float products[PRODUCTS][PRODUCTS];
    int x = blockIdx.x, y = blockIdx.y, level = blockIdx.z, t = threadIdx.x;
    const Raster<const float>& in = other.values[level];
    float part = *share.at(y, x), reach = 1.0f / (is_other ? 1.0f - part : part);
    float halved = 1.0f / (float)(1 << level);
    Place px = place_of(((float)x + flow.at(y, x)[0] * reach) * halved, in.width);
    Place py = place_of(((float)y + flow.at(y, x)[1] * reach) * halved, in.height);
    int cx = px.cell + t % PRODUCTS - RADIUS, cy = py.cell + t / PRODUCTS - RADIUS;
    float sum = 0.0f;
    if (in.has(cy, cx)) {
        const float *a = features.at(y, x), *b = in.at(cy, cx);
        for (int d = 0; d < features.channels; d++) sum = fmaf(a[d], b[d], sum);
    }
    products[t / PRODUCTS][t % PRODUCTS] = sum * (1.0f / sqrtf((float)features.channels));
    __syncthreads();
    if (t >= SIDE * SIDE) return;
    int i = t / SIDE, j = t % SIDE;
    float above = mix(products[j][i], products[j][i + 1], px.share);
    float below = mix(products[j + 1][i], products[j + 1][i + 1], px.share);
    out.at(y, x)[level * SIDE * SIDE + t] = mix(above, below, py.share);
}
EXPORT_COOPERATIVE(pairs_look_up)

KERNEL pairs_row_moments(Raster<const float> input, int squared, Raster<const float> moments, Raster<float> rows) {
    int y = row(), c = column();
    if (y >= input.height || c >= input.channels) return;
    float mean = squared ? moments.at(0, 0)[c] : 0.0f, sum = 0.0f;
    for (int x = 0; x < input.width; x++) {
        float off = input.at(y, x)[c] - mean;
        sum += squared ? off * off : off;
    }
    rows.at(0, y)[c] = sum;
}
EXPORT(pairs_row_moments)

KERNEL pairs_moments(Raster<const float> rows, int width, int squared, Raster<float> moments) {
    int c = column();
    if (c >= rows.channels) return;
    double sum = 0.0;
    for (int y = 0; y < rows.width; y++) sum += rows.at(0, y)[c];
    sum /= (double)rows.width * width;
    moments.at(0, squared)[c] = (float)(squared ? 1.0 / sqrt(sum + EPSILON) : sum);
}
EXPORT(pairs_moments)

KERNEL pairs_standardise(Raster<const float> input, Raster<const float> moments, float least, Raster<float> out) {
    int y = row(), x = column() / out.channels, c = column() % out.channels;
    if (!out.has(y, x)) return;
    out.at(y, x)[c] = fmaxf((input.at(y, x)[c] - moments.at(0, 0)[c]) * moments.at(0, 1)[c], least);
}
EXPORT(pairs_standardise)

__device__ Taps resized(int i, int from, int to) { return taps(((float)i + 0.5f) * ((float)from / (float)to) - 0.5f, from); }

KERNEL pairs_resize(Raster<const float> input, float gain, Raster<float> out) {
    int y = row(), x = column() / out.channels, c = column() % out.channels;
    if (!out.has(y, x)) return;
    Taps ty = resized(y, input.height, out.height), tx = resized(x, input.width, out.width);
    float upper = lerp(input.at(ty.first, tx.first)[c], input.at(ty.first, tx.second)[c], tx.share);
    float lower = lerp(input.at(ty.second, tx.first)[c], input.at(ty.second, tx.second)[c], tx.share);
    out.at(y, x)[c] = gain * lerp(upper, lower, ty.share);
}
EXPORT(pairs_resize)
