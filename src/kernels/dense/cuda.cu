// Convolutions of many channels on tensor cores, of several tensors read as one, with bias, residual and activation in the same pass:
// what is multiplied has 16 bits, sums have 32; tensors have f32 or f16, each by itself. Beyond the picture lie zeros.
//
// dense_P_O: tiles of P pixels, which follow each other along the rows of the output, and O outputs.
// patch_K_S_C_P_O: K x K taps, stride S, C channels at a time; patches of P pixels, and O outputs.
//   Dense job                             see job.cuh; conv/dense.rs has the numbers
// Grid: x: tiles of pixels or patches, y: tiles of outputs, z: parities of a transposed convolution; a warp for each Shape::M x Shape::N of a
// tile. Where tiles are small, few fill the card, and teams of warps share the steps of one.
//
// A tile is a product of matrices, 32 channels a step: four groups of 8, each of one tap. Both factors lie as rows of 32
// numbers, of a pixel and of an output. In which order a step's channels are summed up matters to nobody, so a thread takes those that lie
// side by side: of each row it reads 16 bytes, which are its parts of two products (mma.cuh), and the 8 threads that read at once read 128 bytes
// side by side. Outputs are in an order in which a thread has side by side what it writes: `packed` in conv/dense.rs.
//
// Steps to come are under way while one is multiplied (cp.async, from 8.0 on), where tensors have 16 bits and whole groups; others are rounded on
// the way.
//
// Of a tile, pixels are staged once for each tap. Of a patch they are staged once, with those around that its taps reach, and the taps only
// move where a warp reads: eight pixels side by side stay side by side. Weights are the same for all blocks: a thread reads its own from
// the first cache, a step ahead.
#include "job.cuh"

// What a warp makes: MT x 16 pixels, NT x 8 outputs; warps along the pixels and the outputs of a tile; steps of a team in shared memory; teams.
template <int MT, int NT, int WM, int WN, int STAGES_, int TEAMS_>
struct Shape {
    static const int M = MT * 16, N = NT * 8, PIXELS = M * WM, OUTPUTS = N * WN, STAGES = STAGES_;
    static const int TALL = MT, WIDE = NT, ALONG = WM, TEAMS = TEAMS_, TEAM = WM * WN * 32, THREADS = TEAM * TEAMS;
    // Rows that a team stages at a time, a thread a group.
    static const int ROWS = TEAM / GROUPS, ITEMS = PIXELS / ROWS;
    static const int STAGE = (PIXELS + OUTPUTS) * GROUPS, ROOM = TEAMS * STAGES * STAGE;
};

// The group of channels that a thread stages next: of which tap, from which channel of all parts on.
struct Group {
    int ky, kx, c;
};

__device__ inline void advance(const Dense& job, Group& at, int groups) {
    at.c += groups * GROUP;
    while (at.c >= job.channels) {
        at.c -= job.channels;
        if (++at.kx < job.kernel) continue;
        at.kx = 0;
        at.ky++;
    }
}

// Stages one group of the pixels of a thread, of which `places` are the first taps.
template <class S>
__device__ void stage_pixels(const Dense& job, const Group& group, const int2 (&places)[S::ITEMS], uint4* to) {
    Source source(job, group.c);
#pragma unroll
    for (int i = 0; i < S::ITEMS; i++) {
        int y = places[i].y + group.ky, x = places[i].x + group.kx;
        bool has = group.ky < job.kernel && (unsigned)y < (unsigned)job.height && (unsigned)x < (unsigned)job.width;
        uint4* at = to + i * S::TEAM;
        if (source.as_is) {
            copy_async(at, has ? source.at(y, x) : job.weights, has);
        } else {
            *at = has ? source.gathered(y, x) : uint4{0, 0, 0, 0};
        }
    }
}

template <class S>
__device__ void stage_weights(const uint4* from, uint4* to) {
    int t = (int)threadIdx.x % S::TEAM;
#pragma unroll
    for (int i = 0; i < S::OUTPUTS * GROUPS; i += S::TEAM)
        if (S::OUTPUTS * GROUPS % S::TEAM == 0 || i + t < S::OUTPUTS * GROUPS) copy_async(to + i, from + i, true);
}

// Adds the products of a step of 16 pixels of a warp: the rows of the upper eight and of the lower eight are those of this thread.
template <int WIDE>
__device__ inline void multiply(uint4 upper, uint4 lower, const uint4 (&b)[WIDE], float (&sums)[WIDE][4]) {
    unsigned first[4] = {upper.x, lower.x, upper.y, lower.y}, second[4] = {upper.z, lower.z, upper.w, lower.w};
#pragma unroll
    for (int j = 0; j < WIDE; j++) {
        mma(sums[j], first, uint2{b[j].x, b[j].y});
        mma(sums[j], second, uint2{b[j].z, b[j].w});
    }
}

template <class S>
__device__ void convolve(const Dense& job) {
    __shared__ uint4 staged[S::ROOM];
    int t = (int)threadIdx.x % S::TEAM, team = (int)threadIdx.x / S::TEAM, lane = t % 32, warp = t / 32, parity = (int)blockIdx.z;
    uint4* own = staged + team * S::STAGES * S::STAGE;
    int tile = (int)blockIdx.x * S::PIXELS, from = (int)blockIdx.y * S::OUTPUTS;
    int2 places[S::ITEMS];
#pragma unroll
    for (int i = 0; i < S::ITEMS; i++) {
        int pixel = tile + i * S::ROWS + t / GROUPS;
        bool has = pixel < job.out_height * job.out_width;
        places[i].y = has ? pixel / job.out_width * job.stride - job.top[parity] : NOWHERE;
        places[i].x = has ? pixel % job.out_width * job.stride - job.left[parity] : NOWHERE;
    }
    Group group = {0, 0, 0};
    advance(job, group, team * GROUPS + t % GROUPS);
    const uint4* weights = job.weights + parity * job.parity_apart() + from * GROUPS + t;
    float sums[S::TALL][S::WIDE][4] = {};
    // Each team has a step of a round.
    auto stage = [&](int round) {
        int step = round * S::TEAMS + team;
        if (step < job.steps) {
            uint4* to = own + round % S::STAGES * S::STAGE + t;
            stage_pixels<S>(job, group, places, to);
            stage_weights<S>(weights + step * job.step_apart(), to + S::PIXELS * GROUPS);
            advance(job, group, S::TEAMS * GROUPS);
        }
        commit_async();
    };
    for (int round = 0; round < S::STAGES - 1; round++) stage(round);
    int row = warp % S::ALONG * S::M, column = warp / S::ALONG * S::N;
    for (int round = 0; round * S::TEAMS < job.steps; round++) {
        wait_async<S::STAGES - 2>();
        __syncthreads();
        stage(round + S::STAGES - 1);
        if (round * S::TEAMS + team >= job.steps) continue;
        const uint4* at = own + round % S::STAGES * S::STAGE + lane;
        uint4 b[S::WIDE];
#pragma unroll
        for (int j = 0; j < S::WIDE; j++) b[j] = at[(S::PIXELS + column + j * 8) * GROUPS];
#pragma unroll
        for (int i = 0; i < S::TALL; i++)
            multiply(at[(row + i * 16) * GROUPS], at[(row + i * 16 + 8) * GROUPS], b, sums[i]);
    }
    gather_teams<S>((float*)staged, sums);
    Ends<2 * S::WIDE> ends(job, parity, from + column + lane % 4 * 2 * S::WIDE);
#pragma unroll
    for (int i = 0; i < 2 * S::TALL; i++) {
        int pixel = tile + row + i * 8 + lane / 4;
        if (!is_own<S>(i) || pixel >= job.out_height * job.out_width) continue;
        int y = pixel / job.out_width, x = pixel % job.out_width;
        ends.finish(y, x, sums[i / 2], i, ends.has_words ? ends.words(y, x) : typename Ends<2 * S::WIDE>::Words{});
    }
}

// A patch of ROWS x COLUMNS pixels and what its taps reach, DEPTH channels of it at a time, SLOTS of these in shared memory; what a warp makes
// and how many there are as `Shape` has it. Teams share the steps of the same channels.
template <int KERNEL_, int STRIDE_, int DEPTH, int ROWS_, int COLUMNS_, int MT, int NT, int WM, int WN, int TEAMS_, int SLOTS_>
struct Patch {
    static const int KERNEL_SIZE = KERNEL_, STRIDE = STRIDE_, ROWS = ROWS_, COLUMNS = COLUMNS_;
    // Of wide warps each 32 outputs are a strip: what a thread has side by side is of one.
    static const int TALL = MT, WIDE = NT < 4 ? NT : 4, STRIPS = NT / WIDE, STRIP = WIDE * 8;
    static const int ALONG = WM, TEAMS = TEAMS_, TEAM = WM * WN * 32, THREADS = TEAM * TEAMS;
    static const int PIXELS = ROWS * COLUMNS, N = NT * 8, OUTPUTS = N * WN;
    // Groups of a staged pixel; steps of what is staged, each of four groups that may be of two taps, and how many of these a team has.
    static const int EACH = DEPTH / GROUP, TAPS = KERNEL_ * KERNEL_, STEPS = (TAPS * EACH + GROUPS - 1) / GROUPS, TURNS = STEPS / TEAMS;
    static const int IN_ROWS = (ROWS - 1) * STRIDE + KERNEL_, IN_COLUMNS = (COLUMNS - 1) * STRIDE + KERNEL_;
    static const int SLOTS = SLOTS_, SLOT = IN_ROWS * IN_COLUMNS * EACH, ROOM = SLOTS * SLOT;
    // Eights of pixels side by side, of a row and of a warp.
    static const int EIGHTS = COLUMNS / 8, OWN = 2 * MT;
    static_assert(PIXELS == WM * MT * 16 && STEPS % TEAMS == 0 && NT == STRIPS * WIDE, "all of it is somebody's");
    static_assert(OWN % EIGHTS == 0 || EIGHTS % OWN == 0, "a warp's eights lie alike wherever it begins");

    // Where a column lies in its row: by a stride of 2 the odd ones behind the even ones, so that those a tap reads are side by side.
    static __device__ int place(int x) { return STRIDE == 1 ? x : x / 2 + x % 2 * ((IN_COLUMNS + 1) / 2); }
    // Where the first tap of an eight of pixels is staged.
    static __device__ int eight(int i) { return (i / EIGHTS * STRIDE * IN_COLUMNS + i % EIGHTS * 8) * EACH; }
    // From there to the group that a thread of this place among four multiplies in a step. Behind the last tap, weights are 0: there any pixel will do
    // that the sum has anyway.
    static __device__ int tap(int step, int within) {
        int group = step * GROUPS + within, tap = min(group / EACH, TAPS - 1);
        return (tap / KERNEL_SIZE * IN_COLUMNS + place(tap % KERNEL_SIZE)) * EACH + group % EACH;
    }
};

// Stages so many channels from `channel` on of the patch whose first tap is at (top, left).
template <class P>
__device__ void stage_patch(const Dense& job, int top, int left, int channel, uint4* to) {
    const int ALL = P::IN_ROWS * P::IN_COLUMNS, APART = P::THREADS / P::EACH;
    int group = (int)threadIdx.x % P::EACH;
    Source source(job, channel + group * GROUP);
#pragma unroll 4
    for (int i = (int)threadIdx.x / P::EACH; i < ALL; i += APART) {
        int row = i / P::IN_COLUMNS, column = i % P::IN_COLUMNS, y = top + row, x = left + column;
        bool has = (unsigned)y < (unsigned)job.height && (unsigned)x < (unsigned)job.width;
        uint4* at = to + (row * P::IN_COLUMNS + P::place(column)) * P::EACH + group;
        if (source.as_is) {
            copy_past_async(at, has ? source.at(y, x) : job.weights, has);
        } else {
            *at = has ? source.gathered(y, x) : uint4{0, 0, 0, 0};
        }
    }
}

// Makes and writes what a thread has side by side, from `output` on, of its pixels, which lie at `place`.
template <class P, class Place>
__device__ void finish_strip(const Dense& job, int parity, int output, float (&sums)[P::TALL][P::WIDE][4], Place place) {
    typedef Ends<2 * P::WIDE> Own;
    Own ends(job, parity, output);
    auto has = [&](int2 at) { return at.x < job.out_width && at.y < job.out_height; };
    const int BATCH = P::OWN < 4 ? P::OWN : 4;
#pragma unroll
    for (int batch = 0; batch < P::OWN; batch += BATCH) {
        // all are asked for before the first one is needed
        typename Own::Words words[BATCH];
#pragma unroll
        for (int i = 0; i < BATCH; i++) {
            int2 at = place(batch + i);
            words[i] = {};
            if (ends.has_words && is_own<P>(batch + i) && has(at)) words[i] = ends.words(at.y, at.x);
        }
#pragma unroll
        for (int i = 0; i < BATCH; i++) {
            int2 at = place(batch + i);
            if (is_own<P>(batch + i) && has(at)) ends.finish(at.y, at.x, sums[(batch + i) / 2], i, words[i]);
        }
    }
}

template <class P>
__device__ void convolve_patch(const Dense& job) {
    static_assert(P::THREADS % P::EACH == 0, "a thread stages the same group of each pixel");
    __shared__ uint4 staged[P::ROOM];
    int t = (int)threadIdx.x % P::TEAM, team = (int)threadIdx.x / P::TEAM, lane = t % 32, warp = t / 32;
    // Blocks that run at about the same time make all parities of a patch, which lie between each other.
    int block = (int)(blockIdx.x + gridDim.x * blockIdx.z), parity = block % (int)gridDim.z, patch = block / (int)gridDim.z;
    int across = (job.out_width + P::COLUMNS - 1) / P::COLUMNS, from = (int)blockIdx.y * P::OUTPUTS + warp / P::ALONG * P::N;
    int row = patch / across * P::ROWS, column = patch % across * P::COLUMNS;
    int top = row * P::STRIDE - job.top[parity], left = column * P::STRIDE - job.left[parity];
    int chunks = job.channels / (P::EACH * GROUP);
    auto stage = [&](int chunk) {
        if (chunk < chunks) stage_patch<P>(job, top, left, chunk * P::EACH * GROUP, staged + chunk % P::SLOTS * P::SLOT);
        commit_async();
    };
    const uint4* weights = job.weights + parity * job.parity_apart() + from * GROUPS + lane;
    auto load = [&](int chunk, int step, uint4 (&b)[P::STRIPS][P::WIDE]) {
        const uint4* at = weights + (step * chunks + chunk) * job.step_apart();
#pragma unroll
        for (int j = 0; j < P::STRIPS * P::WIDE; j++) b[j / P::WIDE][j % P::WIDE] = at[j * 8 * GROUPS];
    };
    for (int chunk = 0; chunk < (P::SLOTS > 1 ? P::SLOTS - 1 : 1); chunk++) stage(chunk);
    float sums[P::STRIPS][P::TALL][P::WIDE][4] = {};
    uint4 b[P::STRIPS][P::WIDE];
    load(0, team, b);
    int first = warp % P::ALONG * P::OWN, own = P::eight(first) + lane / 4 * P::EACH;
    for (int chunk = 0; chunk < chunks; chunk++) {
        wait_async<(P::SLOTS > 1 ? P::SLOTS - 2 : 0)>();
        __syncthreads();
        if (P::SLOTS > 1) stage(chunk + P::SLOTS - 1);
        const uint4* pixels = staged + chunk % P::SLOTS * P::SLOT + own;
#pragma unroll
        for (int turn = 0; turn < P::TURNS; turn++) {
            uint4 next[P::STRIPS][P::WIDE];
            bool last = turn + 1 == P::TURNS;
            load(last ? min(chunk + 1, chunks - 1) : chunk, (last ? 0 : turn + 1) * P::TEAMS + team, next);
            const uint4* at = pixels + P::tap(turn * P::TEAMS + team, lane % 4);
#pragma unroll
            for (int i = 0; i < P::TALL; i++) {
                uint4 upper = at[P::eight(2 * i)], lower = at[P::eight(2 * i + 1)];
#pragma unroll
                for (int strip = 0; strip < P::STRIPS; strip++) multiply(upper, lower, b[strip], sums[strip][i]);
            }
#pragma unroll
            for (int j = 0; j < P::STRIPS * P::WIDE; j++) b[j / P::WIDE][j % P::WIDE] = next[j / P::WIDE][j % P::WIDE];
        }
        if (P::SLOTS == 1 && chunk + 1 < chunks) {
            __syncthreads();
            stage(chunk + 1);
        }
    }
    // Of each eight: where this thread's pixel lies.
    auto place = [&](int i) { return int2{column + (first + i) % P::EIGHTS * 8 + lane / 4, row + (first + i) / P::EIGHTS}; };
#pragma unroll
    for (int strip = 0; strip < P::STRIPS; strip++) {
        static_assert(P::STRIPS == 1 || P::TEAMS == 1, "there is room for the sums of a strip");
        gather_teams<P>((float*)staged, sums[strip]);
        finish_strip<P>(job, parity, from + strip * P::STRIP + lane % 4 * 2 * P::WIDE, sums[strip], place);
    }
}

#define DENSE(P, O, ...) \
    KERNEL __launch_bounds__((Shape<__VA_ARGS__>::THREADS)) dense_##P##_##O(const __grid_constant__ Dense job) { \
        typedef Shape<__VA_ARGS__> S; \
        static_assert(S::PIXELS == P && S::OUTPUTS == O, "as its name says"); \
        convolve<S>(job); \
    } \
    EXPORT_COOPERATIVE(dense_##P##_##O)
DENSE(128, 64, 4, 4, 2, 2, 3, 1)
DENSE(128, 32, 2, 4, 4, 1, 3, 1)
DENSE(64, 32, 1, 4, 4, 1, 3, 2)
DENSE(32, 32, 1, 4, 2, 1, 3, 4)
DENSE(128, 16, 2, 2, 4, 1, 3, 1)
DENSE(64, 16, 1, 2, 4, 1, 3, 2)

// `BLOCKS` of them find room in a multiprocessor, as far as registers go.
#define PATCH(K, S, C, P, O, BLOCKS, ...) \
    KERNEL __launch_bounds__((Patch<K, S, C, __VA_ARGS__>::THREADS), BLOCKS) patch_##K##_##S##_##C##_##P##_##O(const __grid_constant__ Dense job) { \
        typedef Patch<K, S, C, __VA_ARGS__> T; \
        static_assert(T::PIXELS == P && T::OUTPUTS == O, "as its name says"); \
        convolve_patch<T>(job); \
    } \
    EXPORT_COOPERATIVE(patch_##K##_##S##_##C##_##P##_##O)
// rows, columns; of a warp 16 pixels, 8 outputs; warps along pixels and outputs, teams; slots
PATCH(3, 1, 32, 256, 64, 2, 8, 32, 4, 8, 4, 1, 1, 2)
PATCH(3, 1, 32, 128, 64, 2, 8, 16, 4, 4, 2, 2, 1, 2)
PATCH(3, 1, 32, 256, 32, 4, 8, 32, 4, 4, 4, 1, 1, 2)
PATCH(3, 1, 32, 128, 32, 2, 8, 16, 4, 4, 2, 1, 3, 3)
PATCH(3, 1, 32, 32, 32, 2, 2, 16, 2, 4, 1, 1, 9, 8)
PATCH(3, 1, 16, 256, 16, 4, 8, 32, 4, 2, 4, 1, 1, 1)
PATCH(3, 2, 32, 128, 32, 4, 4, 32, 2, 4, 4, 1, 1, 1)
PATCH(3, 2, 32, 128, 16, 4, 4, 32, 2, 2, 4, 1, 1, 1)
PATCH(3, 2, 16, 128, 32, 4, 4, 32, 2, 4, 4, 1, 1, 1)
PATCH(3, 2, 8, 256, 16, 4, 8, 32, 4, 2, 4, 1, 1, 1)
PATCH(2, 1, 32, 256, 64, 2, 8, 32, 4, 8, 4, 1, 1, 2)
PATCH(2, 1, 32, 128, 64, 2, 8, 16, 4, 4, 2, 2, 1, 2)
PATCH(2, 1, 32, 256, 32, 4, 8, 32, 4, 4, 4, 1, 1, 2)
PATCH(2, 1, 32, 32, 32, 3, 2, 16, 2, 4, 1, 1, 4, 6)
