// What a network of windowed attention has between its linear layers.
//
// transformer_norm: a pixel's channels brought to mean 0 and variance 1, then its own weight and bias. A warp a pixel.
//   Raster<const float> input             [h, w, c]
//   Raster<const float> norm              [1, 2, c]: weights, biases
//   float epsilon                         added to the variance
//   Raster<float> out                     [h, w, c]
// transformer_gather: the same into windows; as it is where `norm` is null. A warp a cell.
//   Windows windows
//   Raster<const float> grid              [height, width, c]
//   norm, epsilon, Raster<float> out      [count, area, c]
// Grids: blocks of 32 x 8 threads, a warp for each pixel (cell) along x and row (window) along y.
//
// transformer_scatter: windows back into the grid. A thread a value.
//   Windows windows, Raster<const float> cells [count, area, c], Raster<float> out [height, width, c]
// transformer_attend: attention within each window. A thread a query of a head.
//   Windows windows, int heads
//   Raster<const float> queries [count, area, c], keys_values [count, area, 2 c], places [count, area, m]
//   Raster<float> out                     [count, area, c + m]
// Grid: a block of 64 threads for each window (x) and head (y); a window has 64 cells at most.
//
// transformer_depthwise: a convolution of 3x3 of each channel by itself, then the Gaussian error linear unit.
//   Raster<const float> input             [h, w, c]
//   Raster<const float> weights           [1, 10, c]: of nine taps, biases
//   Raster<float> out                     [h, w, c]
// transformer_patches: 3x3 pixels around every `stride`th one, `dilation` apart.
//   Raster<const float> input [h, w, c], int stride, int dilation, Raster<float> out [h / stride, w / stride, 9 c]
// transformer_weigh: times the share of each pixel, or what it lacks to 1.
//   Raster<const float> values [h, w, c], share [h, w, 1], int is_other, Raster<float> out [h, w, c]
// transformer_spread_twice: 16 channels over 4x4 pixels.
//   Raster<const float> input [h, w, 16 c], Raster<float> out [4 h, 4 w, c]
// Grids: blocks of 32 x 8 threads over (h, w c) of the output, a thread a value.
#include "../cuda/common.cuh"

const int MOST_CELLS = 64;
const float UNSEEN = -100.0f;

// `Windows` in mod.rs.
struct Windows {
    int height, width, side, shift;

    // In whole windows, and the zeros above and on the left.
    __device__ int rows() const { return (height + side - 1) / side * side; }
    __device__ int columns() const { return (width + side - 1) / side * side; }
    __device__ int top() const { return (rows() - height) / 2; }
    __device__ int left() const { return (columns() - width) / 2; }
    // Row and column of a window's cell, before the shift.
    __device__ int cell_row(int window, int i) const { return window / (columns() / side) * side + i / side; }
    __device__ int cell_column(int window, int i) const { return window % (columns() / side) * side + i % side; }
    __device__ int part(int window, int i) const;
};

__device__ int past(int n, int first, int second) { return (n >= first) + (n >= second); }

// Cells of different parts must not see each other.
__device__ int Windows::part(int window, int i) const {
    int y = cell_row(window, i), x = cell_column(window, i);
    int padding = 3 * past(y, top(), top() + height) + past(x, left(), left() + width);
    if (shift == 0) return padding;
    return 9 * (3 * past(y, rows() - side, rows() - shift) + past(x, columns() - side, columns() - shift)) + padding;
}

// By all threads of a warp; `from` is null where there are zeros.
__device__ void normalise(const float* from, const Raster<const float>& norm, float epsilon, float* to, int channels) {
    int lane = threadIdx.x;
    float sum = 0.0f, squares = 0.0f;
    for (int c = lane; from && c < channels; c += WARP) sum += from[c];
    float mean = warp_sum(sum) / (float)channels;
    for (int c = lane; from && c < channels; c += WARP) squares += (from[c] - mean) * (from[c] - mean);
    float scale = 1.0f / sqrtf(warp_sum(squares) / (float)channels + epsilon);
    for (int c = lane; to && c < channels; c += WARP) {
        float value = from ? (from[c] - mean) * scale : 0.0f;
        to[c] = value * norm.at(0, 0)[c] + norm.at(0, 1)[c];
    }
}

KERNEL transformer_norm(Raster<const float> input, Raster<const float> norm, float epsilon, Raster<float> out) {
    int x = blockIdx.x * blockDim.y + threadIdx.y, y = blockIdx.y;
    bool has = out.has(y, x);
    normalise(has ? input.at(y, x) : nullptr, norm, epsilon, has ? out.at(y, x) : nullptr, out.channels);
}
EXPORT_COOPERATIVE(transformer_norm)

KERNEL transformer_gather(Windows windows, Raster<const float> grid, Raster<const float> norm, float epsilon, Raster<float> out) {
    int i = blockIdx.x * blockDim.y + threadIdx.y, window = blockIdx.y;
    bool has = out.has(window, i);
    int y = has ? (windows.cell_row(window, i) + windows.shift) % windows.rows() - windows.top() : -1;
    int x = has ? (windows.cell_column(window, i) + windows.shift) % windows.columns() - windows.left() : -1;
    const float* from = grid.has(y, x) ? grid.at(y, x) : nullptr;
    float* to = has ? out.at(window, i) : nullptr;
    if (norm.data) return normalise(from, norm, epsilon, to, out.channels);
    for (int c = threadIdx.x; to && c < out.channels; c += WARP) to[c] = from ? from[c] : 0.0f;
}
EXPORT_COOPERATIVE(transformer_gather)

KERNEL transformer_scatter(Windows windows, Raster<const float> cells, Raster<float> out) {
    int y = row(), x = column() / out.channels, c = column() % out.channels;
    if (!out.has(y, x)) return;
    int side = windows.side, rows = windows.rows(), columns = windows.columns();
    int from_y = (y + windows.top() + rows - windows.shift % rows) % rows;
    int from_x = (x + windows.left() + columns - windows.shift % columns) % columns;
    int window = from_y / side * (columns / side) + from_x / side;
    out.at(y, x)[c] = cells.at(window, from_y % side * side + from_x % side)[c];
}
EXPORT(transformer_scatter)

KERNEL transformer_attend(Windows windows, int heads, Raster<const float> queries, Raster<const float> keys_values,
                          Raster<const float> places, Raster<float> out) {
    int window = blockIdx.x, head = blockIdx.y, i = threadIdx.x, area = queries.width;
    if (i >= area) return;
    int c = queries.channels, own = c / heads, own_place = places.channels / heads;
    float scale = 1.0f / sqrtf((float)own), shares[MOST_CELLS], most = -INFINITY, sum = 0.0f;
    const float* query = queries.at(window, i) + head * own;
    int part = windows.part(window, i);
    for (int j = 0; j < area; j++) {
        const float* key = keys_values.at(window, j) + head * own;
        float product = 0.0f;
        for (int d = 0; d < own; d++) product += query[d] * scale * key[d];
        shares[j] = product + (windows.part(window, j) == part ? 0.0f : UNSEEN);
        most = fmaxf(most, shares[j]);
    }
    for (int j = 0; j < area; j++) sum += shares[j] = expf(shares[j] - most);
    for (int j = 0; j < area; j++) shares[j] /= sum;
    float* to = out.at(window, i);
    for (int d = 0; d < own; d++) {
        float value = 0.0f;
        for (int j = 0; j < area; j++) value += shares[j] * keys_values.at(window, j)[c + head * own + d];
        to[head * own + d] = value;
    }
    for (int d = 0; d < own_place; d++) {
        float moved = -places.at(window, i)[head * own_place + d];
        for (int j = 0; j < area; j++) moved += shares[j] * places.at(window, j)[head * own_place + d];
        to[c + head * own_place + d] = moved;
    }
}
EXPORT(transformer_attend)

__device__ float gelu(float x) { return 0.5f * x * (1.0f + erff(x * 0.70710678f)); }

KERNEL transformer_depthwise(Raster<const float> input, Raster<const float> weights, Raster<float> out) {
    int y = row(), x = column() / out.channels, c = column() % out.channels;
    if (!out.has(y, x)) return;
    float sum = weights.at(0, 9)[c];
    for (int tap = 0; tap < 9; tap++) {
        int ty = y + tap / 3 - 1, tx = x + tap % 3 - 1;
        if (input.has(ty, tx)) sum += input.at(ty, tx)[c] * weights.at(0, tap)[c];
    }
    out.at(y, x)[c] = gelu(sum);
}
EXPORT(transformer_depthwise)

KERNEL transformer_patches(Raster<const float> input, int stride, int dilation, Raster<float> out) {
    int y = row(), x = column() / out.channels, c = column() % out.channels;
    if (!out.has(y, x)) return;
    int tap = c / input.channels;
    int ty = y * stride + (tap / 3 - 1) * dilation, tx = x * stride + (tap % 3 - 1) * dilation;
    out.at(y, x)[c] = input.has(ty, tx) ? input.at(ty, tx)[c % input.channels] : 0.0f;
}
EXPORT(transformer_patches)

KERNEL transformer_weigh(Raster<const float> values, Raster<const float> share, int is_other, Raster<float> out) {
    int y = row(), x = column() / out.channels, c = column() % out.channels;
    if (!out.has(y, x)) return;
    float part = *share.at(y, x);
    out.at(y, x)[c] = (is_other ? 1.0f - part : part) * values.at(y, x)[c];
}
EXPORT(transformer_weigh)

KERNEL transformer_spread_twice(Raster<const float> input, Raster<float> out) {
    int y = row(), x = column() / out.channels, c = column() % out.channels;
    if (!out.has(y, x)) return;
    // The first step places a pixel by its coarser digits.
    int first = y % 4 / 2 * 2 + x % 4 / 2, second = y % 2 * 2 + x % 2;
    out.at(y, x)[c] = input.at(y / 4, x / 4)[(4 * c + second) * 4 + first];
}
EXPORT(transformer_spread_twice)
