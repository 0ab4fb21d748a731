// How much a card multiplies and adds, for benches: registers alone, no memory but for what comes out.
//
// rate_matrix: products of matrices of 16 bits on tensor cores (mma.cuh), a warp by itself.
// rate_fused: fused multiplications and additions in float, a thread by itself.
//   unsigned factor                       what is multiplied by itself: two numbers of 16 bits, or a float
//   int rounds                            additions to each sum
//   Raster<float> out                     [blocks, threads, 1]: all that the thread has summed up
// Grid: x: blocks, of THREADS each.
//
// With a factor of 1 what comes out is how many products were made, exact up to 2^24 a thread. Sums of a thread do not depend on each
// other, and are enough of them that none is waited for: an instruction for the next one is ready when that for one is under way.
#include "../cuda/mma.cuh"

const int THREADS = 256;
// Blocks that a multiprocessor has room for: 64 registers a thread.
const int BLOCKS = 4;
// Sums of a warp, 16 x 8 each, and of a thread.
const int MATRICES = 8, SUMS = 16;

KERNEL __launch_bounds__(THREADS, BLOCKS) rate_matrix(unsigned factor, int rounds, Raster<float> out) {
    unsigned a[4] = {factor, factor, factor, factor};
    uint2 b = {factor, factor};
    float sums[MATRICES][4] = {};
#pragma unroll 1
    for (int i = 0; i < rounds; i++)
#pragma unroll
        for (int j = 0; j < MATRICES; j++) mma(sums[j], a, b);
    float all = 0.0f;
#pragma unroll
    for (int j = 0; j < 4 * MATRICES; j++) all += sums[j / 4][j % 4];
    *out.at((int)blockIdx.x, (int)threadIdx.x) = all;
}
EXPORT_COOPERATIVE(rate_matrix)

KERNEL __launch_bounds__(THREADS, BLOCKS) rate_fused(unsigned factor, int rounds, Raster<float> out) {
    float value;
    memcpy(&value, &factor, sizeof value);
    float sums[SUMS] = {};
    // so that counting the rounds takes little beside them
#pragma unroll 8
    for (int i = 0; i < rounds; i++)
#pragma unroll
        for (int j = 0; j < SUMS; j++) sums[j] = fmaf(value, value, sums[j]);
    float all = 0.0f;
#pragma unroll
    for (int j = 0; j < SUMS; j++) all += sums[j];
    *out.at((int)blockIdx.x, (int)threadIdx.x) = all;
}
EXPORT(rate_fused)
