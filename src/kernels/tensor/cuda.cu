// Convolutions of few channels on tensor cores, of several tensors read as one, with bias, residual and activation in the same pass:
// what is multiplied has 16 bits, sums have 32; tensors have f32 or f16, each by itself.
//
// tensor_K_S_O: K x K taps, stride S, tiles of O outputs.
//   Job job                               see job.cuh; weights: of each STEP channels, tap and 8 outputs what 32 threads hold of `b`
//                                         in mma.cuh, a word pair each; channels and outputs padded with zeros
// Grid: x, y over tiles of 16 x 8 output pixels, z over tiles of O outputs; 256 threads a block (conv/narrow.rs has the numbers).
//
// Such a filter takes longer to wait for memory than to multiply, and a small picture has few blocks to wait in turns. So a block asks
// for as much as it can at once: the weights of a chunk of channels, then the pixels of its tile and what its taps reach around them,
// rounded, part by part. A warp makes a row of 16 pixels as a product with all outputs of the tile: the sixteen pixels that a tap reads
// are the rows of `a` as they lie there, so nothing is copied for the nine taps.
#include "../cuda/async.cuh"
#include "../cuda/mma.cuh"
#include "../narrow/job.cuh"

const int STEP = 16, WIDE = 16, TALL = 8, THREADS = TALL * 32;
// That a multiprocessor should have room for: 64 registers a thread.
const int BLOCKS = 4;

template <int K, int S>
struct Tile {
    static constexpr int IN_TALL = (TALL - 1) * S + K, IN_WIDE = (WIDE - 1) * S + K, PIXELS = IN_TALL * IN_WIDE;
    // Channels that are staged at a time; words from a staged pixel to the next: the 16 bytes of 8 side by side are in different banks.
    static constexpr int CHUNK = K == 1 ? 112 : S == 1 ? 32 : 16, APART = CHUNK / 2 + 4;

    // Where a column lies in its row: by a stride of 2 the odd ones behind the even ones, so that those a tap reads are side by side.
    static __device__ int place(int x) { return S == 1 ? x : x / 2 + x % 2 * ((IN_WIDE + 1) / 2); }
};

__device__ inline float activated(float value) { return value < 0.0f ? value * SLOPE : value; }
__device__ inline unsigned activated(unsigned word) {
    float2 both = unpack(word);
    return pack(activated(both.x), activated(both.y));
}

// What a thread reads at a time: one channel of T.
template <class T>
struct One {
    static constexpr int CHANNELS = 1, BATCH = 6;
    T value;

    __device__ void load(const void* data, long long i) { value = ((const T*)data)[i]; }
    __device__ void stage(u16* to, bool reading) const {
        float whole = read(&value);
        *to = (u16)pack(reading ? activated(whole) : whole, 0.0f);
    }
};

// Eight of 16 bits, which lie in memory as they are wanted.
struct Eight {
    static constexpr int CHANNELS = 8, BATCH = 3;
    uint4 value;

    __device__ void load(const void* data, long long i) { value = *(const uint4*)((const __half*)data + i); }
    __device__ void stage(u16* to, bool reading) const {
        uint4 all = value;
        if (reading) all = {activated(all.x), activated(all.y), activated(all.z), activated(all.w)};
        put((uint4*)to, all);
    }
};

// Stages `count` channels of a part from `c` on; zeros beyond the picture. Threads side by side have the channels of a pixel, of as many
// threads as are a power of two. All of a batch is asked for before the first of it is waited for.
template <class T, class Unit>
__device__ void stage(const Job& job, const Part& part, int stride, int pad, int c, int count, u16* to) {
    int units = count / Unit::CHANNELS, bits = 0;
    while (1 << bits < units) bits++;
    int unit = ((int)threadIdx.x & ((1 << bits) - 1)), apart = THREADS >> bits;
    int top = (int)blockIdx.y * TALL * stride - pad, left = (int)blockIdx.x * WIDE * stride - pad;
    if (unit >= units) return;
    c += unit * Unit::CHANNELS;
    to += unit * Unit::CHANNELS;
    for (int first = (int)threadIdx.x >> bits; first < T::PIXELS; first += Unit::BATCH * apart) {
        Unit batch[Unit::BATCH];
#pragma unroll
        for (int i = 0; i < Unit::BATCH; i++) {
            int at = first + i * apart, y = top + at / T::IN_WIDE, x = left + at % T::IN_WIDE;
            batch[i] = {};
            bool has = at < T::PIXELS && y >= 0 && y < job.height && x >= 0 && x < job.width;
            if (has) batch[i].load(part.data, part.at(y, x) + c);
        }
#pragma unroll
        for (int i = 0; i < Unit::BATCH; i++) {
            int at = first + i * apart, x = at % T::IN_WIDE;
            if (at < T::PIXELS) batch[i].stage(to + (at - x + T::place(x)) * T::APART * 2, job.reading);
        }
    }
}

// Which values of a tile's row 16 bytes of a part are: four floats or eight of 16 bits, of one pixel or of some side by side.
struct Piece {
    // The pixel in the row, and its channel.
    int x, c;
    uint4 value;
};

// The one that begins with value `at` of the row, whose first value is at `from`; zeros behind the last pixel `inside` the picture.
template <int VALUES>
__device__ Piece piece_at(const Part& part, unsigned pixels, const char* from, int inside, int at) {
    int x = (int)((unsigned)at * pixels >> PIXEL_BITS), c = at - x * part.pixel;
    Piece piece = {x, c, {0, 0, 0, 0}};
    if (x < inside && c < part.channels) piece.value = *(const uint4*)(from + at * (16 / VALUES));
    return piece;
}

// Puts its channels where they belong in the staged row of the part.
template <class T, int VALUES>
__device__ void spread(const Part& part, const Piece& piece, bool reading, bool joins, u16* row) {
    int c = piece.c;
    u16* to = row + piece.x * T::APART * 2 + c;
    if (joins) {
        if (c < part.channels) Eight{piece.value}.stage(to, reading);
        return;
    }
    unsigned words[4] = {piece.value.x, piece.value.y, piece.value.z, piece.value.w};
#pragma unroll
    for (int i = 0; i < VALUES; i++, to++) {
        if (c < part.channels && VALUES == 8) {
            __half half;
            u16 bits = (u16)(words[i / 2] >> i % 2 * 16);
            memcpy(&half, &bits, sizeof half);
            One<__half>{half}.stage(to, reading);
        } else if (c < part.channels) {
            float value;
            memcpy(&value, &words[i % 4], sizeof value);
            One<float>{value}.stage(to, reading);
        }
        if (++c == part.pixel) c = 0, to += T::APART * 2 - part.pixel;
    }
}

// Stages a part's channels by pieces: of a row of the tile, a warp. All of a batch is asked for before the first of it is spread.
template <class T, int VALUES>
__device__ void stage_row(const Job& job, const Part& part, unsigned pixels, int begin, u16* staged) {
    const int BATCH = 2;
    // of 16 bits, eight that need not be taken apart
    bool joins = VALUES == 8 && part.channels % 8 == 0 && part.pixel % 8 == 0 && begin % 8 == 0;
    u16* row = staged + (int)threadIdx.x / 32 * WIDE * T::APART * 2 + begin;
    int lane = (int)threadIdx.x % 32, y = (int)blockIdx.y * TALL + (int)threadIdx.x / 32, left = (int)blockIdx.x * WIDE;
    int count = WIDE * part.pixel / VALUES, inside = y < job.height ? job.width - left : 0;
    const char* from = (const char*)part.data + part.at(y, left) * (16 / VALUES);
#pragma unroll 1
    for (int first = lane; first < count; first += BATCH * 32) {
        Piece batch[BATCH];
#pragma unroll
        for (int i = 0; i < BATCH; i++) batch[i] = piece_at<VALUES>(part, pixels, from, first + i * 32 < count ? inside : 0, (first + i * 32) * VALUES);
#pragma unroll
        for (int i = 0; i < BATCH; i++)
            if (first + i * 32 < count) spread<T, VALUES>(part, batch[i], job.reading, joins, row);
    }
}

// Stages `count` channels of all parts from `first` on, and zeros up to a whole number of steps.
template <int K, int S>
__device__ void stage(const Job& job, int first, int count, u16* pixels) {
    typedef Tile<K, S> T;
    const int PAD = (K - 1) / 2;
    // A tap reaches no pixel but its own, and all channels are here.
    bool by_rows = K == 1 && S == 1 && count == job.inputs;
    for (int i = 0, begin = 0; i < job.count && begin < first + count; begin += job.parts[i++].channels) {
        const Part part = job.parts[i];
        int from = max(begin, first), n = min(begin + part.channels, first + count) - from, c = from - begin;
        if (n <= 0) continue;
        u16* to = pixels + (from - first);
        if (by_rows && job.pieces >> i & 1) {
            if (part.half) stage_row<T, 8>(job, part, job.pixels[i], begin, pixels);
            else stage_row<T, 4>(job, part, job.pixels[i], begin, pixels);
            continue;
        }
        // of 16 bits, eight that need not be taken apart: neither in the tensor nor here
        int whole = part.half && part.joins(8) && c % 8 == 0 && (from - first) % 8 == 0 ? n / 8 * 8 : 0;
        if (whole) stage<T, Eight>(job, part, S, PAD, c, whole, to);
        if (n == whole) continue;
        if (part.half) stage<T, One<__half>>(job, part, S, PAD, c + whole, n - whole, to + whole);
        else stage<T, One<float>>(job, part, S, PAD, c, n, to);
    }
    for (int i = (int)threadIdx.x; i < T::PIXELS * STEP; i += THREADS) {
        int c = count / STEP * STEP + i % STEP;
        if (count % STEP && c >= count) pixels[i / STEP * T::APART * 2 + c] = 0;
    }
}

// Has the weights of the tile's outputs copied, of so many steps from channel `first` on.
template <int TAPS, int TILES>
__device__ void copy_weights(const Job& job, int first, int steps, uint4* to) {
    const int WORDS = TILES * 16;
    int all = job.padded / 8 * 16;
    const uint4* from = (const uint4*)job.weight + (long long)(first / STEP) * TAPS * all + (int)blockIdx.z * WORDS;
    for (int i = (int)threadIdx.x; i < steps * TAPS * WORDS; i += THREADS) copy_async(to + i, from + i / WORDS * all + i % WORDS, true);
}

// Has their biases copied, then their slopes.
template <int TAPS, int O>
__device__ void copy_ends(const Job& job, uint4* to) {
    const int WORDS = O / 4;
    int i = (int)threadIdx.x, steps = (job.inputs + STEP - 1) / STEP;
    const uint4* from = (const uint4*)job.weight + (long long)steps * TAPS * (job.padded / 8 * 16);
    if (i < 2 * WORDS) copy_async(to + i, from + i / WORDS * (job.padded / 4) + (int)blockIdx.z * WORDS + i % WORDS, true);
}

// Bias, residual and activation of outputs `o` and `o + 1` of a pixel.
__device__ void finish(const Job& job, int y, int x, int o, float2 sum, const float* bias, const float* slopes) {
    bool both = o + 1 < job.outputs;
    sum = {sum.x + bias[0], sum.y + bias[1]};
    if (job.residual.data) {
        float2 more = job.residual.load(y, x, o, both);
        sum = {sum.x + more.x, sum.y + more.y};
    }
    if (job.leaky) sum = {sum.x < 0.0f ? sum.x * slopes[0] : sum.x, sum.y < 0.0f ? sum.y * slopes[1] : sum.y};
    job.out.store(y, x, o, sum, both);
}

template <int K, int S, int O>
__device__ void convolve(const Job& job) {
    typedef Tile<K, S> T;
    const int TILES = O / 8, TAPS = K * K;
    __shared__ uint4 pixels[T::PIXELS * T::APART / 4], weights[T::CHUNK / STEP * TAPS * TILES * 16], ends[O / 2];
    int lane = (int)threadIdx.x % 32, warp = (int)threadIdx.x / 32, group = lane / 4, within = lane % 4;
    int y = (int)blockIdx.y * TALL + warp;
    float sums[TILES][4] = {};
    copy_ends<TAPS, O>(job, ends);
    for (int first = 0; first < job.inputs; first += T::CHUNK) {
        int count = min(job.inputs - first, T::CHUNK), steps = (count + STEP - 1) / STEP;
        if (first) __syncthreads();
        copy_weights<TAPS, TILES>(job, first, steps, weights);
        stage<K, S>(job, first, count, (u16*)pixels);
        commit_async();
        wait_async<0>();
        __syncthreads();
        if (y >= job.out_height) continue;
        const unsigned* rows = (const unsigned*)pixels + warp * S * T::IN_WIDE * T::APART;
        const uint2* weight = (const uint2*)weights + lane;
        for (int step = 0; step < steps; step++, rows += STEP / 2, weight += TAPS * TILES * 32) {
#pragma unroll
            for (int tap = 0; tap < TAPS; tap++) {
                unsigned a[4];
                load(a, rows + (tap / K * T::IN_WIDE + T::place(tap % K)) * T::APART, T::APART);
#pragma unroll
                for (int i = 0; i < TILES; i++) mma(sums[i], a, weight[(tap * TILES + i) * 32]);
            }
        }
    }
    const float* bias = (const float*)ends + within * 2;
#pragma unroll
    for (int i = 0; i < 2 * TILES; i++) {
        int x = (int)blockIdx.x * WIDE + group + i % 2 * 8, o = i / 2 * 8, first = (int)blockIdx.z * O + within * 2 + o;
        if (y >= job.out_height || x >= job.out_width || first >= job.outputs) continue;
        const float(&sum)[4] = sums[i / 2];
        finish(job, y, x, first, {sum[i % 2 * 2], sum[i % 2 * 2 + 1]}, bias + o, bias + O + o);
    }
}

#define CONV(K, S, O) \
    KERNEL __launch_bounds__(THREADS, BLOCKS) tensor_##K##_##S##_##O(const __grid_constant__ Job job) { convolve<K, S, O>(job); } \
    EXPORT_COOPERATIVE(tensor_##K##_##S##_##O)
#define CONVS(K, S) CONV(K, S, 8) CONV(K, S, 16) CONV(K, S, 24) CONV(K, S, 32)
CONVS(1, 1)
CONVS(3, 1)
CONVS(3, 2)
