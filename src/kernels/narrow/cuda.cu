// Convolutions of few channels, of several tensors read as one, with bias, residual and activation in the same pass; products and
// sums in f32, tensors in f32 or f16, each by itself.
//
// narrow_K_S_O: K x K taps, stride S, tiles of O outputs.
//   Job job                               see job.cuh; weights: floats [K * K, inputs, padded]
// Grid: x, y over tiles of 16 x TALL output pixels, z over tiles of O outputs; O / 4 * PIXELS threads a block (conv/narrow.rs has the
// numbers).
//
// A block stages 8 channels at a time: the tile's pixels and what its taps reach around them, and the weights. A thread makes 4 pixels
// of a column by 4 outputs: of each channel and column of taps it reads 3 S + K values and K times 4 weights from shared memory, for
// 16 K products. Threads side by side have the outputs of one pixel, so that their reads of pixels are one and their writes adjoin.
//
// FLOP a byte moved, of the embedded network in f32: 1x1 from 104 to 16 channels 7; 3x3 from 16 to 16 about 31; 3x3 from 43 to 32
// about 60 (what tiles read around them included). A card does 15 to 30 before its arithmetic limits: the 1x1 are limited by memory, where f16 halves the bytes.
#include "job.cuh"

const int CHUNK = 8, WIDE = 16, ROWS = 4, OUTS = 4;

// The input at channel c of all parts; zero outside.
__device__ float input_at(const Job& job, int y, int x, int c) {
    if (y < 0 || y >= job.height || x < 0 || x >= job.width || c >= job.inputs) return 0.0f;
    int part = 0;
    while (c >= job.parts[part].channels) c -= job.parts[part++].channels;
    float value = job.parts[part].load(y, x, c);
    return job.reading && value < 0.0f ? value * SLOPE : value;
}

template <int K, int S, int O>
struct Tile {
    // Threads along the pixels, and along the outputs.
    static const int GROUPS = O / OUTS, PIXELS = O == 8 ? 64 : O == 16 ? 32 : 16, THREADS = GROUPS * PIXELS;
    static const int TALL = PIXELS / WIDE * ROWS;
    // What is staged; channels lie an odd number of values apart, so that neighbours are in different banks.
    static const int IN_TALL = (TALL - 1) * S + K, IN_WIDE = (WIDE - 1) * S + K;
    static const int PLANE = (IN_TALL * IN_WIDE) | 1;
};

template <int K, int S, int O>
__device__ void stage(const Job& job, int first, float* pixels, float* weights) {
    typedef Tile<K, S, O> T;
    int top = blockIdx.y * T::TALL * S - (K - 1) / 2, left = blockIdx.x * WIDE * S - (K - 1) / 2;
    for (int i = threadIdx.x; i < T::IN_TALL * T::IN_WIDE * CHUNK; i += T::THREADS) {
        int c = i % CHUNK, at = i / CHUNK;
        pixels[c * T::PLANE + at] = input_at(job, top + at / T::IN_WIDE, left + at % T::IN_WIDE, first + c);
    }
    for (int i = threadIdx.x; i < K * K * CHUNK * O; i += T::THREADS) {
        int o = blockIdx.z * O + i % O, c = first + i / O % CHUNK, tap = i / (O * CHUNK);
        bool has = o < job.padded && c < job.inputs;
        weights[i] = has ? ((const float*)job.weight)[((long long)tap * job.inputs + c) * job.padded + o] : 0.0f;
    }
}

template <int K, int S, int O>
__device__ void convolve(const Job& job) {
    typedef Tile<K, S, O> T;
    __shared__ float pixels[CHUNK * T::PLANE];
    __shared__ float4 fours[K * K * CHUNK * O / 4];
    float* weights = (float*)fours;
    int group = threadIdx.x % T::GROUPS, place = threadIdx.x / T::GROUPS;
    int x = place % WIDE, y = place / WIDE * ROWS;
    float sums[ROWS][OUTS] = {};
    for (int first = 0; first < job.inputs; first += CHUNK) {
        __syncthreads();
        stage<K, S, O>(job, first, pixels, weights);
        __syncthreads();
#pragma unroll (K == 1 ? CHUNK : 1)
        for (int c = 0; c < CHUNK; c++) {
            for (int kx = 0; kx < K; kx++) {
                float column[(ROWS - 1) * S + K];
                for (int i = 0; i < (ROWS - 1) * S + K; i++)
                    column[i] = pixels[c * T::PLANE + (y * S + i) * T::IN_WIDE + x * S + kx];
                for (int ky = 0; ky < K; ky++) {
                    float4 w = *(const float4*)&weights[((ky * K + kx) * CHUNK + c) * O + group * OUTS];
                    for (int i = 0; i < ROWS; i++) {
                        sums[i][0] = fmaf(column[i * S + ky], w.x, sums[i][0]);
                        sums[i][1] = fmaf(column[i * S + ky], w.y, sums[i][1]);
                        sums[i][2] = fmaf(column[i * S + ky], w.z, sums[i][2]);
                        sums[i][3] = fmaf(column[i * S + ky], w.w, sums[i][3]);
                    }
                }
            }
        }
    }
    const float* bias = (const float*)job.weight + (long long)K * K * job.inputs * job.padded;
    for (int i = 0; i < ROWS; i++) {
        int oy = blockIdx.y * T::TALL + y + i, ox = blockIdx.x * WIDE + x;
        if (oy >= job.out_height || ox >= job.out_width) continue;
        for (int j = 0; j < OUTS; j++) {
            int o = blockIdx.z * O + group * OUTS + j;
            if (o >= job.outputs) continue;
            float sum = sums[i][j] + bias[o];
            if (job.residual.data) sum += job.residual.load(oy, ox, o);
            if (job.leaky && sum < 0.0f) sum *= bias[job.padded + o];
            job.out.store(oy, ox, o, sum);
        }
    }
}

#define CONV(K, S, O) \
    KERNEL narrow_##K##_##S##_##O(Job job) { convolve<K, S, O>(job); } \
    EXPORT_COOPERATIVE(narrow_##K##_##S##_##O)
#define CONVS(K, S) CONV(K, S, 8) CONV(K, S, 16) CONV(K, S, 24) CONV(K, S, 32)
CONVS(1, 1)
CONVS(3, 1)
CONVS(3, 2)
