// Convolutions of many channels on tensor cores, of several tensors read as one, with bias, residual and activation in the same pass:
// what is multiplied has 16 bits, sums have 32; tensors have f32 or f16, each by itself. Beyond the picture lie zeros.
//
// dense_P_O: tiles of P pixels, which follow each other along the rows of the output, and O outputs.
//   Dense job                             see below; conv/dense.rs has the numbers
// Grid: x: tiles of pixels, y: tiles of outputs, z: parities of a transposed convolution; a warp for each Shape::M x Shape::N of a tile.
// Where tiles are small, few fill the card, and teams of warps share the steps of one.
//
// A tile is a product of matrices, 32 channels a step: four groups of 8, each of one tap. Both factors lie in shared memory as rows of 32
// numbers, of a pixel and of an output. In which order a step's channels are summed up matters to nobody, so a thread takes those that lie
// side by side: of each row it reads 16 bytes, which are its parts of two products (mma.cuh), and the 8 threads that read at once read 128 bytes
// side by side. Outputs are in an order in which a thread has side by side what it writes: `packed` in conv/dense.rs.
//
// Steps to come are under way while one is multiplied (cp.async, from 8.0 on), where tensors have 16 bits and whole groups; others are rounded on
// the way.
#include "../cuda/async.cuh"
#include "../cuda/mma.cuh"
#include "../narrow/job.cuh"

const int GROUP = 8, GROUPS = 4;
// Bits of `whole` behind those of the parts.
const int RESIDUAL = MOST_PARTS, OUT = MOST_PARTS + 1;
// A row that no picture has.
const int NOWHERE = -(1 << 20);

struct Dense {
    Part parts[MOST_PARTS];
    // Null where there is none.
    Part residual;
    // Places along the rows and columns of a pixel of the input come after each other.
    Part out;
    // Of each parity: of each step `padded` rows; then, as floats, biases and slopes.
    const uint4* weights;
    int count, steps, kernel, stride;
    // Of the input, and of the output.
    int height, width, out_height, out_width;
    int outputs, padded;
    // Whether the input is activated as it is read, and the output.
    int reading, leaky;
    // Of the parts, RESIDUAL and OUT: those whose groups of channels are aligned.
    unsigned whole;
    // Of a transposed convolution: outputs of a place, places along a side of a parity, values from a place to its neighbours.
    int each, spread, place_row, place_pixel;
    // Rows and columns of taps above and to the left of a pixel, of each parity.
    int top[4], left[4];
    // Of all parts, padded to whole groups.
    int channels;
};

// What a warp makes: MT x 16 pixels, NT x 8 outputs; warps along the pixels and the outputs of a tile; steps of a team in shared memory; teams.
template <int MT, int NT, int WM, int WN, int STAGES_, int TEAMS_>
struct Shape {
    static const int M = MT * 16, N = NT * 8, PIXELS = M * WM, OUTPUTS = N * WN, STAGES = STAGES_;
    static const int TALL = MT, WIDE = NT, ALONG = WM, TEAMS = TEAMS_, TEAM = WM * WN * 32, THREADS = TEAM * TEAMS;
    // Rows that a team stages at a time, a thread a group.
    static const int ROWS = TEAM / GROUPS, ITEMS = PIXELS / ROWS;
    static const int STAGE = (PIXELS + OUTPUTS) * GROUPS;
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

__device__ inline float activated(const Dense& job, float value) { return job.reading && value < 0.0f ? value * SLOPE : value; }

// A group of floats, or one that lies in several parts or is not aligned; rounded.
__device__ uint4 gathered(const Dense& job, int part, int c, int y, int x, bool whole) {
    float values[GROUP] = {};
    if (whole) {
        const Part& from = job.parts[part];
        Run<float, GROUP> run = *(const Run<float, GROUP>*)((const float*)from.data + from.at(y, x) + c);
        for (int i = 0; i < GROUP; i++) values[i] = activated(job, run.values[i]);
    } else {
        for (int i = 0; i < GROUP && part < job.count; i++) {
            values[i] = activated(job, job.parts[part].load(y, x, c));
            if (++c < job.parts[part].channels) continue;
            c = 0;
            part++;
        }
    }
    return {pack(values[0], values[1]), pack(values[2], values[3]), pack(values[4], values[5]), pack(values[6], values[7])};
}

// Stages one group of the pixels of a thread, of which `places` are the first taps.
template <class S>
__device__ void stage_pixels(const Dense& job, const Group& group, const int2 (&places)[S::ITEMS], uint4* to) {
    int index = 0, c = group.c;
    while (index + 1 < job.count && c >= job.parts[index].channels) c -= job.parts[index++].channels;
    const Part& part = job.parts[index];
    bool whole = (job.whole >> index & 1) && c % GROUP == 0 && c + GROUP <= part.channels;
    bool as_is = whole && part.half && !job.reading;
#pragma unroll
    for (int i = 0; i < S::ITEMS; i++) {
        int y = places[i].y + group.ky, x = places[i].x + group.kx;
        bool has = group.ky < job.kernel && (unsigned)y < (unsigned)job.height && (unsigned)x < (unsigned)job.width;
        uint4* at = to + i * S::TEAM;
        if (as_is) {
            copy_async(at, has ? (const __half*)part.data + part.at(y, x) + c : part.data, has);
        } else {
            *at = has ? gathered(job, index, c, y, x, whole && !part.half) : uint4{0, 0, 0, 0};
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

// Adds the products of a step; `pixels` and `weights` are those of this warp, from this thread's group on.
template <class S>
__device__ void multiply(const uint4* pixels, const uint4* weights, float (&sums)[S::TALL][S::WIDE][4]) {
    uint4 b[S::WIDE];
#pragma unroll
    for (int j = 0; j < S::WIDE; j++) b[j] = weights[j * 8 * GROUPS];
#pragma unroll
    for (int i = 0; i < S::TALL; i++) {
        uint4 upper = pixels[i * 16 * GROUPS], lower = pixels[(i * 16 + 8) * GROUPS];
        unsigned first[4] = {upper.x, lower.x, upper.y, lower.y}, second[4] = {upper.z, lower.z, upper.w, lower.w};
#pragma unroll
        for (int j = 0; j < S::WIDE; j++) {
            mma(sums[i][j], first, uint2{b[j].x, b[j].y});
            mma(sums[i][j], second, uint2{b[j].z, b[j].w});
        }
    }
}

// The first team gets the sums of all, and goes on alone.
template <class S>
__device__ bool gather_teams(float* shared, float (&sums)[S::TALL][S::WIDE][4]) {
    const int VALUES = S::TALL * S::WIDE * 4;
    static_assert((S::TEAMS - 1) * VALUES * S::TEAM <= S::TEAMS * S::STAGES * S::STAGE * 4, "room for the sums");
    if (S::TEAMS == 1) return true;
    int t = (int)threadIdx.x % S::TEAM, team = (int)threadIdx.x / S::TEAM;
    __syncthreads();
#pragma unroll
    for (int i = 0; i < VALUES; i++)
        if (team > 0) shared[((team - 1) * VALUES + i) * S::TEAM + t] = sums[i / 4 / S::WIDE][i / 4 % S::WIDE][i % 4];
    __syncthreads();
    if (team > 0) return false;
    for (int other = 0; other < S::TEAMS - 1; other++) {
#pragma unroll
        for (int i = 0; i < VALUES; i++) sums[i / 4 / S::WIDE][i / 4 % S::WIDE][i % 4] += shared[(other * VALUES + i) * S::TEAM + t];
    }
    return true;
}

// Where output `o` of a pixel lies; `at` is where its first place does.
__device__ inline long long output_at(const Dense& job, long long at, int o) {
    int place = o / job.each;
    return at + (long long)(place / job.spread) * job.place_row + (long long)(place % job.spread) * job.place_pixel + o % job.each;
}

// Makes N outputs side by side of their sums, and writes them.
template <int N>
__device__ void finish(const Dense& job, int pixel, int first, const float* bias, float (&sums)[N]) {
    if (pixel >= job.out_height * job.out_width) return;
    int y = pixel / job.out_width, x = pixel % job.out_width;
    bool all = first + N <= job.outputs;
    if (job.residual.data) {
        bool whole = all && (job.whole >> RESIDUAL & 1);
        float more[N] = {};
        if (whole) {
            load_run(job.residual, job.residual.at(y, x) + first, more);
        } else {
            for (int i = 0; i < N && first + i < job.outputs; i++) more[i] = job.residual.load(y, x, first + i);
        }
        for (int i = 0; i < N; i++) sums[i] = (sums[i] + bias[first + i]) + more[i];
    } else {
        for (int i = 0; i < N; i++) sums[i] += bias[first + i];
    }
    const float* slopes = bias + job.padded;
    for (int i = 0; i < N; i++)
        if (job.leaky && sums[i] < 0.0f) sums[i] *= slopes[first + i];
    int parity = (int)blockIdx.z;
    long long at = job.out.at(y, x) + (long long)job.spread * ((long long)(parity / 2) * job.place_row + (long long)(parity % 2) * job.place_pixel);
    if (all && (job.whole >> OUT & 1) && first % job.each + N <= job.each) {
        store_run(job.out, output_at(job, at, first), sums);
        return;
    }
    for (int i = 0; i < N && first + i < job.outputs; i++) {
        long long to = output_at(job, at, first + i);
        job.out.half ? write((__half*)job.out.data + to, sums[i]) : write((float*)job.out.data + to, sums[i]);
    }
}

template <class S>
__device__ void convolve(const Dense& job) {
    __shared__ uint4 staged[S::TEAMS * S::STAGES * S::STAGE];
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
    long long step_apart = (long long)job.padded * GROUPS, parity_apart = job.steps * step_apart + job.padded / 2;
    const uint4* weights = job.weights + parity * parity_apart + from * GROUPS + t;
    float sums[S::TALL][S::WIDE][4] = {};
    // Each team has a step of a round.
    auto stage = [&](int round) {
        int step = round * S::TEAMS + team;
        if (step < job.steps) {
            uint4* to = own + round % S::STAGES * S::STAGE + t;
            stage_pixels<S>(job, group, places, to);
            stage_weights<S>(weights + step * step_apart, to + S::PIXELS * GROUPS);
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
        multiply<S>(at + row * GROUPS, at + (S::PIXELS + column) * GROUPS, sums);
    }
    if (!gather_teams<S>((float*)staged, sums)) return;
    const float* bias = (const float*)(job.weights + parity * parity_apart + job.steps * step_apart);
#pragma unroll
    for (int i = 0; i < S::TALL; i++) {
#pragma unroll
        for (int k = 0; k < 2; k++) {
            float run[2 * S::WIDE];
#pragma unroll
            for (int j = 0; j < 2 * S::WIDE; j++) run[j] = sums[i][j / 2][2 * k + j % 2];
            int pixel = tile + row + i * 16 + k * 8 + lane / 4;
            finish<2 * S::WIDE>(job, pixel, from + column + lane % 4 * 2 * S::WIDE, bias, run);
        }
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
