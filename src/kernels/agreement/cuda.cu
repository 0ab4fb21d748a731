// How well the luma of both sides agrees around a flow, at steps of a quarter of a cell.
//
// agree: 16 x 8 cells a block of 512 threads. Fuses `luma::warp` of both sides, the comparisons, their means over 3x3 cells, the
// softmax and `agreement::difference`.
//   Raster<const u8> left, right          luma, [H, W, 1] each
//   Raster<const float> flow              [h, w, 4] in cells
//   Raster<const float> phase             [h, w, 1]
//   float sharpness
//   Raster<float> out                     [h, w, 28]
//   Raster<float> difference              [h, w, 1]; null to leave it out
// Grid: 512 threads a block, blocks over tiles of 16 x 8 of (h, w).
//
// First each thread moves the samples between four cells, 4 x 4 of them, of the tile, of a cell around it and of 2 samples around that (76 x 44
// a side, 1.6 times the tile's own). Then it sums 16 differences for each of 180 cells and 25 displacements: whole numbers, so that their order
// does not matter, two in a word. Then four threads make a cell's answer, each every fourth displacement.
// Nothing but luma and flow is read, some 50 bytes a cell, and nothing but the answer written, 116: arithmetic and shared memory limit.
#include "../correlation/softmax.cuh"
#include "../luma/sample.cuh"

const int TALL = 8, WIDE = 16, ROWS = TALL + 2, COLUMNS = WIDE + 2, CELLS = ROWS * COLUMNS;
// Of what is staged, in samples.
const int HEIGHT = SAMPLES * ROWS + 2 * BORDER, WIDTH = SAMPLES * COLUMNS + 2 * BORDER;
const int THREADS = TALL * WIDE * LANES;
const float NOISE = 0.01f, CONTRAST = 8.0f;
// Makes samples positive; they then have 12 bits.
const int LEAST = 2048;

struct Job {
    const Raster<const float>&flow, &phase;
    // The cell at the corner of what is staged; may lie outside by one.
    int y, x;
};

// One side.
struct Side {
    Raster<const u8> luma;
    const Raster<const float>& flow;
    // Of the flow's channels.
    int first;
};

// Four samples of a row, positive.
struct Samples {
    int values[SAMPLES];
};

// Stages them: each word has a sample and, above it, its right neighbour.
__device__ void put(const Samples& samples, unsigned* to, bool has_left) {
    unsigned own[SAMPLES];
    for (int i = 0; i < SAMPLES; i++) own[i] = (unsigned)samples.values[i];
    for (int i = 0; i < SAMPLES - 1; i++) to[i] = own[i] | own[i + 1] << 16;
    u16* last = (u16*)(to + SAMPLES - 1);
    *last = (u16)own[SAMPLES - 1];
    if (has_left) last[1 - 2 * SAMPLES] = (u16)own[0];
}

// The luma that four samples side by side lie between, where these lie side by side there, too, and on the same rows: five bytes from `x` on,
// of two rows.
struct Near {
    int x, y0, y1;
    bool is;
};

__device__ Near near_of(const Neighbours px[SAMPLES], const Neighbours py[SAMPLES], const Raster<const u8>& luma) {
    bool is = luma.pixel == 1 && px[0].first + SAMPLES < luma.width;
    for (int i = 1; i < SAMPLES; i++) is &= px[i].first == px[0].first + i && py[i].first == py[0].first;
    return {px[0].first, py[0].first, py[0].second, is};
}

// Five bytes, the first one lowest.
__device__ unsigned long long five_bytes(const u8* from) {
#ifdef __CUDACC__
    // Words that have a byte of these each.
    const unsigned* words = (const unsigned*)((size_t)from & ~(size_t)3);
    int by = (int)((size_t)from & 3) * 8;
    unsigned long long both = (unsigned long long)words[1] << 32 | words[0];
    return both >> by;
#else
    unsigned long long bytes = 0;
    memcpy(&bytes, from, 5);
    return bytes;
#endif
}

// Of a row, each moved by so many steps.
__device__ Samples samples_at(const Raster<const u8>& luma, int y, int x, const int by_y[SAMPLES], const int by_x[SAMPLES]) {
    Neighbours px[SAMPLES], py[SAMPLES];
    for (int i = 0; i < SAMPLES; i++) {
        px[i] = neighbours_of(x + i, luma.width, by_x[i], 0);
        py[i] = neighbours_of(y, luma.height, by_y[i], 0);
    }
    Samples samples;
    Near near = near_of(px, py, luma);
    if (near.is) {
        unsigned long long above = five_bytes(luma.at(near.y0, near.x)), below = five_bytes(luma.at(near.y1, near.x));
        for (int i = 0; i < SAMPLES; i++, above >>= 8, below >>= 8) {
            int codes[4] = {(int)above & 255, (int)(above >> 8) & 255, (int)below & 255, (int)(below >> 8) & 255};
            samples.values[i] = sample_of(codes, px[i].share, py[i].share) + LEAST;
        }
    } else {
        for (int i = 0; i < SAMPLES; i++) samples.values[i] = sample_between(luma, py[i], px[i]) + LEAST;
    }
    return samples;
}

// Samples (y, x) to (y + 3, x + 3), which lie between the same four cells, those that lie outside being the nearest ones inside.
__device__ void stage_at_edges(const Side& side, int y, int x, bool has_left, unsigned* to) {
#pragma unroll 1
    for (int row = 0; row < SAMPLES; row++) {
        Samples samples;
        for (int i = 0; i < SAMPLES; i++) {
            int iy = inside(y + row, SAMPLES * side.flow.height), ix = inside(x + i, SAMPLES * side.flow.width);
            samples.values[i] = moved_sample(side.luma, side.flow, side.first, (float)SAMPLES, iy, ix) + LEAST;
        }
        put(samples, to + row * WIDTH, has_left);
    }
}

// The same where all lie inside, in one tile of the flow's bases: what samples share is made once.
__device__ void stage_inside(const Side& side, int y, int x, bool has_left, unsigned* to) {
    const Raster<const float>& flow = side.flow;
    const float *corners[4] = {flow.at(y / SAMPLES, x / SAMPLES), flow.at(y / SAMPLES, x / SAMPLES + 1),
                               flow.at(y / SAMPLES + 1, x / SAMPLES), flow.at(y / SAMPLES + 1, x / SAMPLES + 1)};
    // Bases may change in the middle, where a cell begins.
#pragma unroll 1
    for (int half = 0; half < SAMPLES; half += 2) {
        int base[2], by[2][4];
        for (int c = 0; c < 2; c++) {
            base[c] = base_at(flow, y + half, x, side.first + c, (float)SAMPLES);
            for (int i = 0; i < 4; i++) by[c][i] = steps((float)SAMPLES * corners[i][side.first + c], base[c]);
        }
#pragma unroll
        for (int row = half; row < half + 2; row++) {
            int flows[2][SAMPLES];
            for (int c = 0; c < 2; c++) {
                int begin = between(by[c][0], by[c][2], 2 * row + 1), end = between(by[c][1], by[c][3], 2 * row + 1);
                for (int i = 0; i < SAMPLES; i++) flows[c][i] = base[c] * (1 << FLOW_BITS) + between(begin, end, 2 * i + 1);
            }
            put(samples_at(side.luma, y + row, x, flows[1], flows[0]), to + row * WIDTH, has_left);
        }
    }
}

// The samples of the cells from the corner on, with the border, of both sides.
__device__ void stage(const Job& job, const Raster<const u8>& left, const Raster<const u8>& right, unsigned (*samples)[HEIGHT * WIDTH]) {
    const int ACROSS = WIDTH / SAMPLES, DOWN = HEIGHT / SAMPLES, ALL_OF = ACROSS * DOWN;
    for (int j = threadIdx.x; j < 2 * ALL_OF; j += THREADS) {
        bool is_left = j < ALL_OF;
        Side side = {is_left ? left : right, job.flow, is_left ? 0 : 2};
        int i = j % ALL_OF, y = SAMPLES * (job.y + i / ACROSS) - BORDER, x = SAMPLES * (job.x + i % ACROSS) - BORDER;
        unsigned* to = samples[is_left ? 0 : 1] + i / ACROSS * SAMPLES * WIDTH + i % ACROSS * SAMPLES;
        bool inner = y >= 0 && x >= 0 && y + SAMPLES <= SAMPLES * side.flow.height && x + SAMPLES <= SAMPLES * side.flow.width;
        if (inner && x >> TILE_BITS == (x + SAMPLES - 1) >> TILE_BITS)
            stage_inside(side, y, x, i % ACROSS > 0, to);
        else
            stage_at_edges(side, y, x, i % ACROSS > 0, to);
    }
}

// Adds the absolute differences of two pairs of samples to a pair of sums, which stay below 1 << 16.
__device__ unsigned with_differences(unsigned sums, unsigned a, unsigned b) {
    // neither half borrows from the other
    return sums + (__vmaxu2(a, b) - __vminu2(a, b));
}

// `luma::difference` in a cell of those staged for displacement d, at the cell's phase.
__device__ unsigned difference_of(const unsigned* lefts, const unsigned* rights, int cell, int d, float t) {
    int2 dy = split(d / SIDE, t), dx = split(d % SIDE, t);
    int corner = (SAMPLES * (cell / COLUMNS) + BORDER) * WIDTH + SAMPLES * (cell % COLUMNS) + BORDER;
    const unsigned *left = lefts + (corner - dy.x * WIDTH - dx.x), *right = rights + (corner + dy.y * WIDTH + dx.y);
    unsigned sums = 0;
#pragma unroll
    for (int i = 0; i < SAMPLES; i++)
        for (int j = 0; j < SAMPLES; j += 2) sums = with_differences(sums, left[i * WIDTH + j], right[i * WIDTH + j]);
    return (sums & 0xffff) + (sums >> 16);
}

// Sums the differences of all cells that are staged, for all displacements: a thread has one of these, and every so manieth cell.
__device__ void compare(const Job& job, const unsigned* lefts, const unsigned* rights, u16* sums) {
    const int TOGETHER = THREADS / DISPLACEMENTS;
    int d = (int)threadIdx.x % DISPLACEMENTS, first = (int)threadIdx.x / DISPLACEMENTS;
    if (first >= TOGETHER) return;
#pragma unroll 2
    for (int cell = first; cell < CELLS; cell += TOGETHER) {
        int y = job.y + cell / COLUMNS, x = job.x + cell % COLUMNS;
        if (!job.flow.has(y, x)) continue;
        sums[cell * DISPLACEMENTS + d] = (u16)difference_of(lefts, rights, cell, d, *job.phase.at(y, x));
    }
}

// The mean difference for displacement d over the cells around (y, x), from the sums of all that are staged.
__device__ float mean_of(const Job& job, const u16* sums, int y, int x, int d) {
    unsigned sum = 0;
    for (int dy = -1; dy <= 1; dy++) {
        for (int dx = -1; dx <= 1; dx++) {
            // Where the edge repeats, the cell inside is among those staged, too.
            int cy = inside(y + dy, job.flow.height) - job.y, cx = inside(x + dx, job.flow.width) - job.x;
            sum += sums[(cy * COLUMNS + cx) * DISPLACEMENTS + d];
        }
    }
    return mean_of_cell(sum) / 9.0f;
}

// The answer of cell (y, x), by four threads; all threads of a warp come here.
__device__ void answer(const Job& job, const u16* sums, int y, int x, float sharpness, const Raster<float>& out,
                       const Raster<float>& difference) {
    bool has = out.has(y, x);
    float scores[EACH] = {}, mean = 0.0f;
#pragma unroll
    for (int i = 0, d = lane_of_pixel(); i < EACH; i++, d += LANES) {
        if (has && d < DISPLACEMENTS) scores[i] = mean_of(job, sums, y, x, d);
        mean += scores[i];
    }
    mean = pixel_sum(mean) / (float)DISPLACEMENTS;
#pragma unroll
    for (int i = 0; i < EACH; i++) scores[i] = 1.0f - scores[i] / (mean + NOISE);
    float2 moved = softmax_mean(scores, sharpness);
    if (!has) return;
    float* to = out.at(y, x);
#pragma unroll
    for (int i = 0, d = lane_of_pixel(); i < EACH; i++, d += LANES) {
        if (d < DISPLACEMENTS) to[d] = scores[i];
        // No displacement lies in the middle of the scores.
        if (d == DISPLACEMENTS / 2 && difference.data)
            *difference.at(y, x) = (1.0f - scores[i]) * (CONTRAST * mean / CONTRAST + NOISE);
    }
    if (lane_of_pixel() == 1) to[DISPLACEMENTS] = moved.x / (float)SAMPLES;
    if (lane_of_pixel() == 2) to[DISPLACEMENTS + 1] = moved.y / (float)SAMPLES;
    if (lane_of_pixel() == 3) to[DISPLACEMENTS + 2] = CONTRAST * mean;
}

KERNEL __launch_bounds__(THREADS, 2) agree(Raster<const u8> left, Raster<const u8> right, Raster<const float> flow, Raster<const float> phase, float sharpness,
             Raster<float> out, Raster<float> difference) {
    __shared__ unsigned samples[2][HEIGHT * WIDTH];
    __shared__ u16 sums[CELLS * DISPLACEMENTS];
    Job job = {flow, phase, (int)blockIdx.y * TALL - 1, (int)blockIdx.x * WIDE - 1};
    stage(job, left, right, samples);
    __syncthreads();
    compare(job, samples[0], samples[1], sums);
    __syncthreads();
    int cell = (int)threadIdx.x / LANES;
    answer(job, sums, job.y + 1 + cell / WIDE, job.x + 1 + cell % WIDE, sharpness, out, difference);
}
EXPORT_COOPERATIVE(agree)
