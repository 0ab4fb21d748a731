// How well the luma of both sides agrees around a flow, at steps of a quarter of a cell.
//
// agree: 8 x 8 cells a block of 256 threads. Fuses `luma::warp` of both sides, the comparisons, their means over 3x3 cells, the
// softmax and `agreement::difference`.
//   Raster<const u8> left, right          luma, [H, W, 1] each
//   Raster<const float> flow              [h, w, 4] in cells
//   Raster<const float> phase             [h, w, 1]
//   float sharpness
//   Raster<float> out                     [h, w, 28]
//   Raster<float> difference              [h, w, 1]; null to leave it out
// Grid: 256 threads a block, blocks over tiles of 8 x 8 of (h, w).
//
// First each thread moves the samples between four cells, 4 x 4 of them, of the tile, of a cell around it and of 2 samples around that (44 x 44
// a side, 1.9 times the tile's own). Then it sums 16 differences for each of 100 cells and 25 displacements: whole numbers, so that their order
// does not matter, but as floats, of which a card does twice as many. Then four threads make a cell's answer, each every fourth displacement.
// Nothing but luma and flow is read, some 50 bytes a cell, and nothing but the answer written, 116: arithmetic limits.
#include "../correlation/softmax.cuh"
#include "../luma/sample.cuh"

const int TILE = 8, CELLS = TILE + 2, WIDE = SAMPLES * CELLS + 2 * BORDER, QUADS = WIDE / SAMPLES;
const int THREADS = TILE * TILE * LANES;
const float NOISE = 0.01f, CONTRAST = 8.0f;

struct Job {
    const Raster<const float>&flow, &phase;
    // The cell at the corner of what is staged; may lie outside by one.
    int y, x;
};

// One side.
struct Side {
    const Raster<const u8>& luma;
    const Raster<const float>& flow;
    // Of the flow's channels.
    int first;
};

// Samples (y, x) to (y + 3, x + 3), which lie between the same four cells, those that lie outside being the nearest ones inside.
__device__ void stage_at_edges(const Side& side, int y, int x, float* to) {
    for (int i = 0; i < SAMPLES * SAMPLES; i++) {
        int iy = inside(y + i / SAMPLES, SAMPLES * side.flow.height), ix = inside(x + i % SAMPLES, SAMPLES * side.flow.width);
        to[i / SAMPLES * WIDE + i % SAMPLES] = (float)moved_sample(side.luma, side.flow, side.first, (float)SAMPLES, iy, ix);
    }
}

// The same where all lie inside, in one tile of the flow's bases: what samples share is made once.
__device__ void stage_inside(const Side& side, int y, int x, float* to) {
    const Raster<const float>& flow = side.flow;
    const float *corners[4] = {flow.at(y / SAMPLES, x / SAMPLES), flow.at(y / SAMPLES, x / SAMPLES + 1),
                               flow.at(y / SAMPLES + 1, x / SAMPLES), flow.at(y / SAMPLES + 1, x / SAMPLES + 1)};
    // Bases may change in the middle, where a cell begins.
#pragma unroll
    for (int half = 0; half < SAMPLES; half += 2) {
        int base[2], by[2][4];
        for (int c = 0; c < 2; c++) {
            base[c] = base_at(flow, y + half, x, side.first + c, (float)SAMPLES);
            for (int i = 0; i < 4; i++) by[c][i] = steps((float)SAMPLES * corners[i][side.first + c], base[c]);
        }
        for (int row = half; row < half + 2; row++) {
            int ends[2][2];
            for (int c = 0; c < 2; c++)
                for (int i = 0; i < 2; i++) ends[c][i] = between(by[c][i], by[c][i + 2], 2 * row + 1);
            for (int i = 0; i < SAMPLES; i++) {
                int flows[2];
                for (int c = 0; c < 2; c++) flows[c] = base[c] * (1 << FLOW_BITS) + between(ends[c][0], ends[c][1], 2 * i + 1);
                to[row * WIDE + i] = (float)sample_at(side.luma, y + row, x + i, flows[1], flows[0]);
            }
        }
    }
}

// The samples of the cells from the corner on, with the border.
__device__ void stage(const Job& job, const Side& side, float* samples) {
    for (int i = threadIdx.x; i < QUADS * QUADS; i += THREADS) {
        int y = SAMPLES * (job.y + i / QUADS) - BORDER, x = SAMPLES * (job.x + i % QUADS) - BORDER;
        float* to = samples + i / QUADS * SAMPLES * WIDE + i % QUADS * SAMPLES;
        bool inner = y >= 0 && x >= 0 && y + SAMPLES <= SAMPLES * side.flow.height && x + SAMPLES <= SAMPLES * side.flow.width;
        if (inner && x >> TILE_BITS == (x + SAMPLES - 1) >> TILE_BITS)
            stage_inside(side, y, x, to);
        else
            stage_at_edges(side, y, x, to);
    }
}

// `luma::difference` in a cell of those staged for displacement d, at the cell's phase.
__device__ unsigned difference_of(const Job& job, const float* lefts, const float* rights, int cy, int cx, int d) {
    float t = *job.phase.at(inside(job.y + cy, job.phase.height), inside(job.x + cx, job.phase.width));
    int2 dy = split(d / SIDE, t), dx = split(d % SIDE, t);
    int corner = (SAMPLES * cy + BORDER) * WIDE + SAMPLES * cx + BORDER;
    const float *left = lefts + (corner - dy.x * WIDE - dx.x), *right = rights + (corner + dy.y * WIDE + dx.y);
    float sum = 0.0f;
    for (int i = 0; i < SAMPLES; i++)
        for (int j = 0; j < SAMPLES; j++) sum += fabsf(left[i * WIDE + j] - right[i * WIDE + j]);
    return (unsigned)sum;
}

// The mean difference for displacement d over the cells around (y, x), from the sums of all that are staged.
__device__ float mean_of(const Job& job, const u16* sums, int y, int x, int d) {
    unsigned sum = 0;
    for (int dy = -1; dy <= 1; dy++) {
        for (int dx = -1; dx <= 1; dx++) {
            // Where the edge repeats, the cell inside is among those staged, too.
            int cy = inside(y + dy, job.flow.height) - job.y, cx = inside(x + dx, job.flow.width) - job.x;
            sum += sums[(cy * CELLS + cx) * DISPLACEMENTS + d];
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

KERNEL __launch_bounds__(THREADS, 4) agree(Raster<const u8> left, Raster<const u8> right, Raster<const float> flow, Raster<const float> phase, float sharpness,
             Raster<float> out, Raster<float> difference) {
    in_order();
    __shared__ float lefts[WIDE * WIDE];
    __shared__ float rights[WIDE * WIDE];
    __shared__ u16 sums[CELLS * CELLS * DISPLACEMENTS];
    Job job = {flow, phase, (int)blockIdx.y * TILE - 1, (int)blockIdx.x * TILE - 1};
    stage(job, {left, flow, 0}, lefts);
    stage(job, {right, flow, 2}, rights);
    __syncthreads();
    for (int i = threadIdx.x; i < CELLS * CELLS * DISPLACEMENTS; i += THREADS) {
        int cell = i / DISPLACEMENTS, cy = cell / CELLS, cx = cell % CELLS;
        bool is = flow.has(job.y + cy, job.x + cx);
        if (is) sums[i] = (u16)difference_of(job, lefts, rights, cy, cx, i % DISPLACEMENTS);
    }
    __syncthreads();
    int cell = (int)threadIdx.x / LANES;
    answer(job, sums, job.y + 1 + cell / TILE, job.x + 1 + cell % TILE, sharpness, out, difference);
}
EXPORT_COOPERATIVE(agree)
