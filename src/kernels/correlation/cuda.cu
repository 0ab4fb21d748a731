// Local correlation of the two warped sides, and the displacement it expects.
//
// correlate_f32, correlate_f16: 8 x 8 pixels a block of 256 threads; four threads have a pixel, each every fourth displacement. Fuses
// `correlate` and `expected`: the scores are in registers when their softmax is taken.
//   Raster<const T> left, right           [h, w, c], float or __half
//   Raster<const float> phase             [h, w, 1]
//   float sharpness
//   Raster<float> scores                  [h, w, 25]
//   Raster<float> displacement            [h, w, 2]: (x, y); null to leave it out
// Grid: 256 threads a block, blocks over tiles of 8 x 8 of (h, w).
//
// expected: four threads a pixel, from scores that are there: Raster<const float> scores, float sharpness, Raster<float> out.
// Grid: 256 threads a block (x), tiles of 64 x 1.
//
// Both sides of a block are staged with 2 pixels around, 16 channels at a time (23 KiB): a value comes from memory 2.25 times instead
// of 25, and from shared memory four channels at a time. Reading that limits: two values a product.
#include "../cuda/half.cuh"
#include "softmax.cuh"

const int TILE = 8, WIDE = TILE + 2 * RADIUS, CHUNK = 16, THREADS = TILE * TILE * LANES;
// Floats from a staged pixel to the next: groups of four of 8 pixels side by side are in different banks.
const int APART = CHUNK + 4;

// Channels from `first` on of the tile and what is around it, four a thread; zero outside.
template <class T>
__device__ void stage(const Raster<const T>& side, int first, float4* staged) {
    for (int i = threadIdx.x; i < WIDE * WIDE * CHUNK / 4; i += THREADS) {
        int part = i % (CHUNK / 4), at = i / (CHUNK / 4), c = first + 4 * part;
        int y = (int)blockIdx.y * TILE + at / WIDE - RADIUS, x = (int)blockIdx.x * TILE + at % WIDE - RADIUS;
        Run<float, 4> run = {};
        if (side.has(y, x)) {
            const T* from = side.at(y, x) + c;
            if (c + 4 <= side.channels) run = read_run<4>(from);
            else
                for (int k = 0; c + k < side.channels; k++) run.values[k] = read(from + k);
        }
        const float* values = run.values;
        staged[at * APART / 4 + part] = {values[0], values[1], values[2], values[3]};
    }
}

template <class T>
__device__ void correlate(const Raster<const T>& left, const Raster<const T>& right, const Raster<const float>& phase,
                          float sharpness, const Raster<float>& scores, const Raster<float>& displacement) {
    __shared__ float4 lefts[WIDE * WIDE * APART / 4], rights[WIDE * WIDE * APART / 4];
    int pixel = (int)threadIdx.x / LANES, lane = lane_of_pixel(), ly = pixel / TILE, lx = pixel % TILE;
    int y = (int)blockIdx.y * TILE + ly, x = (int)blockIdx.x * TILE + lx;
    bool has = scores.has(y, x);
    float t = has ? *phase.at(y, x) : 0.0f, sums[EACH] = {};
    // Where the values of each displacement lie among those staged.
    int from[EACH], to[EACH];
#pragma unroll
    for (int i = 0; i < EACH; i++) {
        int d = min(lane + LANES * i, DISPLACEMENTS - 1);
        int2 dy = split(d / SIDE, t), dx = split(d % SIDE, t);
        from[i] = ((ly + RADIUS - dy.x) * WIDE + lx + RADIUS - dx.x) * APART / 4;
        to[i] = ((ly + RADIUS + dy.y) * WIDE + lx + RADIUS + dx.y) * APART / 4;
    }
    for (int first = 0; first < left.channels; first += CHUNK) {
        __syncthreads();
        stage(left, first, lefts);
        stage(right, first, rights);
        __syncthreads();
#pragma unroll 1
        for (int c = 0; c < CHUNK / 4; c++) {
#pragma unroll
            for (int i = 0; i < EACH; i++) {
                float4 a = lefts[from[i] + c], b = rights[to[i] + c];
                sums[i] = fmaf(a.w, b.w, fmaf(a.z, b.z, fmaf(a.y, b.y, fmaf(a.x, b.x, sums[i]))));
            }
        }
    }
#pragma unroll
    for (int i = 0, d = lane; i < EACH; i++, d += LANES)
        if (has && d < DISPLACEMENTS) scores.at(y, x)[d] = sums[i];
    if (!displacement.data) return;
    float2 mean = softmax_mean(sums, sharpness);
    if (has && lane < 2) displacement.at(y, x)[lane] = lane == 0 ? mean.x : mean.y;
}

KERNEL __launch_bounds__(THREADS, 3) correlate_f32(Raster<const float> left, Raster<const float> right, Raster<const float> phase, float sharpness,
                     Raster<float> scores, Raster<float> displacement) {
    correlate(left, right, phase, sharpness, scores, displacement);
}
EXPORT_COOPERATIVE(correlate_f32)
KERNEL __launch_bounds__(THREADS, 3) correlate_f16(Raster<const __half> left, Raster<const __half> right, Raster<const float> phase, float sharpness,
                     Raster<float> scores, Raster<float> displacement) {
    correlate(left, right, phase, sharpness, scores, displacement);
}
EXPORT_COOPERATIVE(correlate_f16)

KERNEL expected(Raster<const float> scores, float sharpness, Raster<float> out) {
    int x = column() / LANES, y = blockIdx.y, lane = lane_of_pixel();
    bool has = scores.has(y, x);
    float own[EACH] = {};
#pragma unroll
    for (int i = 0, d = lane; i < EACH; i++, d += LANES)
        if (has && d < DISPLACEMENTS) own[i] = scores.at(y, x)[d];
    float2 mean = softmax_mean(own, sharpness);
    if (has && lane < 2) out.at(y, x)[lane] = lane == 0 ? mean.x : mean.y;
}
EXPORT_COOPERATIVE(expected)
