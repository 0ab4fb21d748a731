// Local correlation of the two warped sides, and the displacement it expects.
//
// correlate_f32, correlate_f16: 8 x 8 pixels a block of 256 threads; a warp has a pixel at a time, a thread a displacement. Fuses
// `correlate` and `expected`: the scores are in registers when their softmax is taken.
//   Raster<const T> left, right           [h, w, c], float or __half
//   Raster<const float> phase             [h, w, 1]
//   float sharpness
//   Raster<float> scores                  [h, w, 25]
//   Raster<float> displacement            [h, w, 2]: (x, y); null to leave it out
// Grid: 256 threads a block, blocks over tiles of 8 x 8 of (h, w).
//
// expected: a warp a pixel, from scores that are there: Raster<const float> scores, float sharpness, Raster<float> out.
// Grid: 256 threads a block (x), tiles of 8 x 1.
//
// Both sides of a block are staged with 2 pixels around, 16 channels at a time (18 KiB): a value comes from memory 2.25 times instead
// of 25. Of 16 channels of f32 a pixel moves 288 bytes in and 108 out for 800 FLOP of products: 2 a byte, memory limits.
#include "../cuda/half.cuh"
#include "softmax.cuh"

const int TILE = 8, WIDE = TILE + 2 * RADIUS, CHUNK = 16, APART = CHUNK + 1, THREADS = 256, WARPS = THREADS / WARP;
const int EACH = TILE * TILE / WARPS;

// Channels from `first` on of the tile and what is around it; zero outside.
template <class T>
__device__ void stage(const Raster<const T>& side, int first, float* staged) {
    for (int i = threadIdx.x; i < WIDE * WIDE * CHUNK; i += THREADS) {
        int c = first + i % CHUNK, at = i / CHUNK;
        int y = (int)blockIdx.y * TILE + at / WIDE - RADIUS, x = (int)blockIdx.x * TILE + at % WIDE - RADIUS;
        staged[at * APART + i % CHUNK] = side.has(y, x) && c < side.channels ? read(side.at(y, x) + c) : 0.0f;
    }
}

template <class T>
__device__ void correlate(const Raster<const T>& left, const Raster<const T>& right, const Raster<const float>& phase,
                          float sharpness, const Raster<float>& scores, const Raster<float>& displacement) {
    __shared__ float lefts[WIDE * WIDE * APART];
    __shared__ float rights[WIDE * WIDE * APART];
    int warp = threadIdx.x / WARP, d = threadIdx.x % WARP;
    bool is = d < DISPLACEMENTS;
    float sums[EACH] = {};
    // Where the two values of this displacement lie among those staged.
    int from[EACH], to[EACH];
#pragma unroll
    for (int i = 0; i < EACH; i++) {
        int ly = i, lx = warp, y = (int)blockIdx.y * TILE + ly, x = (int)blockIdx.x * TILE + lx;
        float t = phase.has(y, x) ? *phase.at(y, x) : 0.0f;
        int2 dy = split(is ? d / SIDE : RADIUS, t), dx = split(is ? d % SIDE : RADIUS, t);
        from[i] = ((ly + RADIUS - dy.x) * WIDE + lx + RADIUS - dx.x) * APART;
        to[i] = ((ly + RADIUS + dy.y) * WIDE + lx + RADIUS + dx.y) * APART;
    }
    for (int first = 0; first < left.channels; first += CHUNK) {
        __syncthreads();
        stage(left, first, lefts);
        stage(right, first, rights);
        __syncthreads();
#pragma unroll
        for (int i = 0; i < EACH; i++) {
#pragma unroll 4
            for (int c = 0; c < CHUNK; c++) sums[i] = fmaf(lefts[from[i] + c], rights[to[i] + c], sums[i]);
        }
    }
#pragma unroll
    for (int i = 0; i < EACH; i++) {
        int y = (int)blockIdx.y * TILE + i, x = (int)blockIdx.x * TILE + warp;
        // The same for all of a warp.
        if (!scores.has(y, x)) continue;
        if (is) scores.at(y, x)[d] = sums[i];
        if (!displacement.data) continue;
        float2 mean = softmax_mean(sums[i], sharpness);
        if (d < 2) displacement.at(y, x)[d] = d == 0 ? mean.x : mean.y;
    }
}

KERNEL correlate_f32(Raster<const float> left, Raster<const float> right, Raster<const float> phase, float sharpness,
                     Raster<float> scores, Raster<float> displacement) {
    correlate(left, right, phase, sharpness, scores, displacement);
}
EXPORT_COOPERATIVE(correlate_f32)
KERNEL correlate_f16(Raster<const __half> left, Raster<const __half> right, Raster<const float> phase, float sharpness,
                     Raster<float> scores, Raster<float> displacement) {
    correlate(left, right, phase, sharpness, scores, displacement);
}
EXPORT_COOPERATIVE(correlate_f16)

KERNEL expected(Raster<const float> scores, float sharpness, Raster<float> out) {
    int x = (int)(blockIdx.x * WARPS + threadIdx.x / WARP), y = blockIdx.y, d = threadIdx.x % WARP;
    if (!scores.has(y, x)) return;
    float2 mean = softmax_mean(d < DISPLACEMENTS ? scores.at(y, x)[d] : 0.0f, sharpness);
    if (d < 2) out.at(y, x)[d] = d == 0 ? mean.x : mean.y;
}
EXPORT_COOPERATIVE(expected)
