// Convolutions of few channels on tensor cores, of several tensors read as one, with bias, residual and activation in the same pass:
// what is multiplied has 16 bits, sums have 32; tensors have f32 or f16, each by itself.
//
// tensor_K_S_O: K x K taps, stride S, tiles of O outputs.
//   Job job                               see job.cuh; weights: of each STEP channels, tap and 8 outputs what 32 threads hold of `b`
//                                         in mma.cuh, a word pair each; channels and outputs padded with zeros
// Grid: x, y over tiles of 16 x TALL output pixels, z over tiles of O outputs; 128 threads a block (conv/narrow.rs has the numbers).
//
// A block stages 16 channels at a time, rounded, of the tile's pixels and of what its taps reach around them. A warp makes rows of 16
// pixels as a product with all outputs of the tile: the sixteen pixels that a tap reads are the rows of `a` as they lie there, so
// nothing is copied for the nine taps. Weights come from memory as they are used, for all warps of a block the same 256 bytes.
#include "../cuda/mma.cuh"
#include "../narrow/job.cuh"

const int STEP = 16, WIDE = 16, WARPS = 4, THREADS = WARPS * 32;
// Words from a staged pixel to the next: those of 8 pixels side by side are in different banks.
const int APART = 12;

template <int K, int S>
struct Tile {
    // Rows of a warp, and of the tile.
    static const int ROWS = S == 1 ? 2 : 1, TALL = WARPS * ROWS;
    static const int IN_TALL = (TALL - 1) * S + K, IN_WIDE = (WIDE - 1) * S + K;
};

// One channel of all parts.
struct Channel {
    const Part* part;
    int c;
};

__device__ Channel channel(const Job& job, int c) {
    if (c >= job.inputs) return {nullptr, 0};
    const Part* part = job.parts;
    while (c >= part->channels) c -= part++->channels;
    return {part, c};
}

__device__ float read(const Job& job, const Channel& from, int y, int x) {
    if (!from.part) return 0.0f;
    float value = from.part->load(y, x, from.c);
    return job.reading && value < 0.0f ? value * SLOPE : value;
}

// A thread stages two channels of every sixteenth pixel. Beyond the picture and the last channel lie zeros.
template <int K, int S>
__device__ void stage(const Job& job, int first, unsigned* pixels) {
    typedef Tile<K, S> T;
    const int PAIRS = STEP / 2;
    int top = (int)blockIdx.y * T::TALL * S - (K - 1) / 2, left = (int)blockIdx.x * WIDE * S - (K - 1) / 2;
    int pair = (int)threadIdx.x % PAIRS;
    Channel one = channel(job, first + 2 * pair), other = channel(job, first + 2 * pair + 1);
    for (int at = (int)threadIdx.x / PAIRS; at < T::IN_TALL * T::IN_WIDE; at += THREADS / PAIRS) {
        int y = top + at / T::IN_WIDE, x = left + at % T::IN_WIDE;
        bool has = y >= 0 && y < job.height && x >= 0 && x < job.width;
        pixels[at * APART + pair] = has ? pack(read(job, one, y, x), read(job, other, y, x)) : 0;
    }
}

template <int K, int S, int O>
__device__ void convolve(const Job& job) {
    typedef Tile<K, S> T;
    const int TILES = O / 8;
    __shared__ unsigned pixels[T::IN_TALL * T::IN_WIDE * APART];
    int lane = (int)threadIdx.x % 32, warp = (int)threadIdx.x / 32, group = lane / 4, within = lane % 4;
    int tiles = job.padded / 8, steps = (job.inputs + STEP - 1) / STEP;
    const uint2* weight = (const uint2*)job.weight + (long long)blockIdx.z * TILES * 32 + lane;
    float sums[T::ROWS][TILES][4] = {};
    for (int step = 0; step < steps; step++) {
        __syncthreads();
        stage<K, S>(job, step * STEP, pixels);
        __syncthreads();
#pragma unroll
        for (int tap = 0; tap < K * K; tap++) {
            uint2 b[TILES];
            for (int i = 0; i < TILES; i++) b[i] = weight[i * 32];
            weight += tiles * 32;
#pragma unroll
            for (int i = 0; i < T::ROWS; i++) {
                int y = (warp * T::ROWS + i) * S + tap / K, x = group * S + tap % K;
                const unsigned* at = pixels + (y * T::IN_WIDE + x) * APART + within;
                const unsigned* below = at + 8 * S * APART;
                unsigned a[4] = {at[0], below[0], at[4], below[4]};
                for (int j = 0; j < TILES; j++) mma(sums[i][j], a, b[j]);
            }
        }
    }
    const float* bias = (const float*)((const uint2*)job.weight + (long long)steps * K * K * tiles * 32);
#pragma unroll
    for (int i = 0; i < T::ROWS; i++) {
        int y = (int)blockIdx.y * T::TALL + warp * T::ROWS + i;
#pragma unroll
        for (int j = 0; j < TILES; j++) {
#pragma unroll
            for (int k = 0; k < 4; k++) {
                int x = (int)blockIdx.x * WIDE + group + k / 2 * 8, o = (int)blockIdx.z * O + j * 8 + within * 2 + k % 2;
                if (y >= job.out_height || x >= job.out_width || o >= job.outputs) continue;
                float sum = sums[i][j][k] + bias[o];
                if (job.residual.data) sum += job.residual.load(y, x, o);
                if (job.leaky && sum < 0.0f) sum *= bias[job.padded + o];
                job.out.store(y, x, o, sum);
            }
        }
    }
}

#define CONV(K, S, O) \
    KERNEL __launch_bounds__(THREADS) tensor_##K##_##S##_##O(const __grid_constant__ Job job) { convolve<K, S, O>(job); } \
    EXPORT_COOPERATIVE(tensor_##K##_##S##_##O)
#define CONVS(K, S) CONV(K, S, 8) CONV(K, S, 16) CONV(K, S, 24) CONV(K, S, 32)
CONVS(1, 1)
CONVS(3, 1)
CONVS(3, 2)
