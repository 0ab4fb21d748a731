// How well the luma of both sides agrees around a flow, at steps of a quarter of a cell.
//
// agree: 16 x 8 cells a block of 512 threads. Fuses `luma::warp` of both sides, the comparisons, their means over 3x3 cells, the
// softmax and `agreement::difference`.
//   Raster<const Quad> left, right        luma, [H, W, 1] each
//   Raster<const float> flow              [h, w, 4] in cells
//   Raster<const float> phase             [h, w, 1]
//   float sharpness
//   Raster<float> out                     [h, w, 28]
//   Raster<float> difference              [h, w, 1]; null to leave it out
// Grid: 512 threads a block, blocks over tiles of 16 x 8 of (h, w).
//
// First a thread brings a cell's flow to the steps that all samples around it are made of. Then each moves the samples between four cells, 4 x 4
// of them, of the tile, of a cell around it and of 2 samples around that (76 x 44 a side, 1.6 times the tile's own). Then it sums 16 differences
// for each of 180 cells and 25 displacements: whole numbers, so that their order does not matter, two in a word. Then four threads make a cell's
// answer, each every fourth displacement.
// Nothing but luma and flow is read, some 150 bytes a cell, and nothing but the answer written, 116: arithmetic and shared memory limit.
#include "../correlation/softmax.cuh"
#include "../luma/sample.cuh"

const int TALL = 8, WIDE = 16, ROWS = TALL + 2, COLUMNS = WIDE + 2, CELLS = ROWS * COLUMNS;
// Of what is staged, in samples.
const int HEIGHT = SAMPLES * ROWS + 2 * BORDER, WIDTH = SAMPLES * COLUMNS + 2 * BORDER;
// What is staged lies between so many cells: one more all around.
const int CORNERS_DOWN = ROWS + 2, CORNERS_ACROSS = COLUMNS + 2, CORNERS = CORNERS_DOWN * CORNERS_ACROSS;
// Cells of a band of the flow's bases, and the bands that the corners lie in.
const int BAND_CELLS = (1 << BAND_BITS) / SAMPLES, BANDS = 4;
const int THREADS = TALL * WIDE * LANES;
const float NOISE = 0.01f, CONTRAST = 8.0f;

struct Job {
    const Raster<const float>&flow, &phase;
    // The cell at the corner of what is staged; may lie outside by one.
    int y, x;

    // The band of the flow's bases that a row of cells lies in, and the one that the corners begin with, which may lie outside.
    __device__ int band_of(int row) const { return inside(row, flow.height) / BAND_CELLS; }
    __device__ int first_band() const { return (y + 1) / BAND_CELLS - 1; }
    // The tile of the flow's bases that the cells of the block lie in.
    __device__ int tile() const { return SAMPLES * (x + 1) >> TILE_BITS; }
};

// Of the cells that what is staged lies between, for each side.
struct Corners {
    // Flow x and y in steps, 16 bits each, from the base of the cell's own band, and from that of the band that begins or ends beside it.
    unsigned steps[2][2][CORNERS];
    // Of x and y, in luma pixels.
    int bases[2][BANDS][2];
};

__device__ unsigned packed(int x, int y) { return (unsigned)(u16)x | (unsigned)(u16)y << 16; }

// Component 0 or 1, x or y.
__device__ int component(unsigned both, int c) { return c == 0 ? (i16)both : (i16)(both >> 16); }

// The flow at the cells that what is staged lies between, those outside being the nearest ones inside.
__device__ void find_corners(const Job& job, Corners& out) {
    for (int j = threadIdx.x; j < 2 * CORNERS; j += THREADS) {
        int side = j / CORNERS, i = j % CORNERS;
        int y = job.y - 1 + i / CORNERS_ACROSS, x = job.x - 1 + i % CORNERS_ACROSS;
        const float* flow = job.flow.at(inside(y, job.flow.height), inside(x, job.flow.width)) + 2 * side;
        bool begins = y % BAND_CELLS == 0;
        int bands[2] = {job.band_of(y), job.band_of(begins ? y - 1 : y + 1)};
        for (int k = 0; k < 2; k++) {
            int base[2], by[2];
            for (int c = 0; c < 2; c++) {
                base[c] = base_at(job.flow, bands[k] << BAND_BITS, job.tile() << TILE_BITS, 2 * side + c, (float)SAMPLES);
                by[c] = steps((float)SAMPLES * flow[c], base[c]);
            }
            out.steps[side][k][i] = packed(by[0], by[1]);
            // once for each band that there is
            bool is_first = i % CORNERS_ACROSS == 0 && (begins || i == 0) && y >= 0 && y < job.flow.height;
            if (k == 0 && is_first)
                for (int c = 0; c < 2; c++) out.bases[side][bands[0] - job.first_band()][c] = base[c];
        }
    }
}

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

// The samples between four cells, of one side.
struct Patch {
    Raster<const Quad> luma;
    int side;
    // In patches from the corner of what is staged.
    int row, column;
    // The upper left one of the cells; of these, those outside are the nearest ones inside.
    int cell_y, cell_x;

    __device__ int y() const { return SAMPLES * cell_y + SAMPLES / 2; }
    __device__ int x() const { return SAMPLES * cell_x + SAMPLES / 2; }
};

// The samples of one row, 0 to 3, from the corners' steps and the base: those in columns outside are the nearest ones inside.
__device__ Samples samples_of(const Job& job, const Patch& patch, int row, const unsigned corners[4], const int base[2]) {
    int from[2], way[2], first[2] = {patch.x(), patch.y() + row};
    for (int c = 0; c < 2; c++) {
        int begin = between(component(corners[0], c), component(corners[2], c), 2 * row + 1);
        int end = between(component(corners[1], c), component(corners[3], c), 2 * row + 1);
        from[c] = (first[c] + base[c]) * PLACES + begin;
        way[c] = way_of(begin, end);
    }
    Samples samples;
    for (int i = 0; i < SAMPLES; i++)
        samples.values[i] = sample_at(patch.luma, along(from[1], way[1], 2 * i + 1), along(from[0], way[0], 2 * i + 1) + i * PLACES);
    if (patch.cell_x < 0) samples.values[0] = samples.values[1] = samples.values[2];
    if (patch.cell_x + 1 >= job.flow.width) samples.values[2] = samples.values[3] = samples.values[1];
    return samples;
}

// Two rows, those in the upper two cells or in the lower ones; all in one tile of the flow's bases.
__device__ void stage_half(const Job& job, const Patch& patch, const Corners& corners, int half, unsigned* to) {
    bool has_left = patch.column > 0;
    int upper = job.band_of(patch.cell_y), lower = job.band_of(patch.cell_y + 1), band = half == 0 ? upper : lower;
    const unsigned* above = corners.steps[patch.side][upper != band] + patch.row * CORNERS_ACROSS + patch.column;
    const unsigned* below = corners.steps[patch.side][lower != band] + (patch.row + 1) * CORNERS_ACROSS + patch.column;
    unsigned around[4] = {above[0], above[1], below[0], below[1]};
    int base[2] = {corners.bases[patch.side][band - job.first_band()][0], corners.bases[patch.side][band - job.first_band()][1]};
    to += SAMPLES / 2 * half * WIDTH;
    Samples rows[2];
#pragma unroll
    for (int i = 0; i < 2; i++) {
        rows[i] = samples_of(job, patch, SAMPLES / 2 * half + i, around, base);
        put(rows[i], to + i * WIDTH, has_left);
    }
    // The other two rows, where they lie outside.
    bool ends = half == 0 && patch.cell_y + 1 >= job.flow.height, begins = half == 1 && patch.cell_y < 0;
    if (!ends && !begins) return;
    for (int i = 0; i < 2; i++) put(ends ? rows[1] : rows[0], to + (ends ? 2 + i : i - 2) * WIDTH, has_left);
}

// The samples of a patch one by one: where another tile of the flow's bases begins.
__device__ void stage_anywhere(const Job& job, const Patch& patch, unsigned* to) {
#pragma unroll 1
    for (int row = 0; row < SAMPLES; row++) {
        Samples samples;
#pragma unroll 1
        for (int i = 0; i < SAMPLES; i++) {
            int iy = inside(patch.y() + row, SAMPLES * job.flow.height), ix = inside(patch.x() + i, SAMPLES * job.flow.width);
            samples.values[i] = moved_sample(patch.luma, job.flow, 2 * patch.side, (float)SAMPLES, iy, ix);
        }
        put(samples, to + row * WIDTH, patch.column > 0);
    }
}

__device__ void stage_patch(const Job& job, const Patch& patch, const Corners& corners, unsigned* to) {
    int first = inside(patch.x(), SAMPLES * job.flow.width), last = inside(patch.x() + SAMPLES - 1, SAMPLES * job.flow.width);
    if (first >> TILE_BITS != job.tile() || last >> TILE_BITS != job.tile()) {
        stage_anywhere(job, patch, to);
        return;
    }
#pragma unroll 1
    for (int half = 0; half < 2; half++)
        if (inside(patch.cell_y + half, job.flow.height) == patch.cell_y + half) stage_half(job, patch, corners, half, to);
}

// Value by value, as one of two structs as a whole would be looked up in memory.
__device__ Raster<const Quad> one_of(bool first, const Raster<const Quad>& a, const Raster<const Quad>& b) {
    return {first ? a.data : b.data, first ? a.height : b.height, first ? a.width : b.width, 1, 1, first ? a.row : b.row};
}

// The samples of the cells from the corner on, with the border, of both sides.
__device__ void stage(const Job& job, const Raster<const Quad>& left, const Raster<const Quad>& right, const Corners& corners,
                      unsigned (*samples)[HEIGHT * WIDTH]) {
    const int ACROSS = WIDTH / SAMPLES, DOWN = HEIGHT / SAMPLES, ALL_OF = ACROSS * DOWN;
    for (int j = threadIdx.x; j < 2 * ALL_OF; j += THREADS) {
        int side = j / ALL_OF, row = j % ALL_OF / ACROSS, column = j % ALL_OF % ACROSS;
        Patch patch = {one_of(side == 0, left, right), side, row, column, job.y - 1 + row, job.x - 1 + column};
        // Nobody looks at what is further outside.
        if (min(patch.cell_y, patch.cell_x) < -1 || patch.cell_y >= job.flow.height || patch.cell_x >= job.flow.width) continue;
        stage_patch(job, patch, corners, samples[side] + row * SAMPLES * WIDTH + column * SAMPLES);
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

// The sums of the cells around (y, x), from the sums of all that are staged. Where the edge repeats, the cell inside is among those, too.
struct Around {
    const u16* sums[9];

    __device__ Around(const Job& job, const u16* all, int y, int x) {
        for (int i = 0; i < 9; i++) {
            int cy = inside(y + i / 3 - 1, job.flow.height) - job.y, cx = inside(x + i % 3 - 1, job.flow.width) - job.x;
            sums[i] = all + (cy * COLUMNS + cx) * DISPLACEMENTS;
        }
    }
    // The mean difference for displacement d.
    __device__ float mean(int d) const {
        unsigned sum = 0;
        for (int i = 0; i < 9; i++) sum += sums[i][d];
        return mean_of_cell(sum) / 9.0f;
    }
};

// The answer of cell (y, x), by four threads; all threads of a warp come here.
__device__ void answer(const Job& job, const u16* sums, int y, int x, float sharpness, const Raster<float>& out,
                       const Raster<float>& difference) {
    bool has = out.has(y, x);
    // of threads that have no cell those of any other
    Around around(job, sums, min(y, out.height - 1), min(x, out.width - 1));
    float scores[EACH] = {}, mean = 0.0f;
#pragma unroll
    for (int i = 0, d = lane_of_pixel(); i < EACH; i++, d += LANES) {
        if (d < DISPLACEMENTS) scores[i] = around.mean(d);
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

KERNEL __launch_bounds__(THREADS, 2) agree(Raster<const Quad> left, Raster<const Quad> right, Raster<const float> flow, Raster<const float> phase, float sharpness,
             Raster<float> out, Raster<float> difference) {
    __shared__ unsigned samples[2][HEIGHT * WIDTH];
    __shared__ Corners corners;
    __shared__ u16 sums[CELLS * DISPLACEMENTS];
    Job job = {flow, phase, (int)blockIdx.y * TALL - 1, (int)blockIdx.x * WIDE - 1};
    find_corners(job, corners);
    __syncthreads();
    stage(job, left, right, corners, samples);
    __syncthreads();
    compare(job, samples[0], samples[1], sums);
    __syncthreads();
    int cell = (int)threadIdx.x / LANES;
    answer(job, sums, job.y + 1 + cell / WIDE, job.x + 1 + cell % WIDE, sharpness, out, difference);
}
EXPORT_COOPERATIVE(agree)
