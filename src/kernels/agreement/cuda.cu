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
// First each thread moves samples: those of the tile, of a cell around it and of 2 samples around that (44 x 44 a side, 1.9 times the
// tile's own). Then it sums 16 differences for each of 100 cells and 25 displacements, whole numbers, so that their order
// does not matter. Then a warp makes a cell's answer, a thread a displacement. Nothing but luma and flow is read, some 50 bytes a
// cell, and nothing but the answer written, 116; of some 1,900 operations in the comparisons and 4,000 in the moving: arithmetic limits.
#include "../correlation/softmax.cuh"
#include "../luma/sample.cuh"

const int TILE = 8, CELLS = TILE + 2, WIDE = SAMPLES * CELLS + 2 * BORDER, THREADS = 256, WARPS = THREADS / WARP;
const float NOISE = 0.01f, CONTRAST = 8.0f;

struct Job {
    Raster<const u8> left, right;
    Raster<const float> flow, phase;
    // The cell at the corner of what is staged; may lie outside by one.
    int y, x;
};

// Both sides' samples of the cells from the corner on, with the border.
__device__ void stage(const Job& job, i16* lefts, i16* rights) {
    int height = job.flow.height, width = job.flow.width;
    for (int i = threadIdx.x; i < WIDE * WIDE; i += THREADS) {
        int y = inside(SAMPLES * job.y + i / WIDE - BORDER, SAMPLES * height);
        int x = inside(SAMPLES * job.x + i % WIDE - BORDER, SAMPLES * width);
        lefts[i] = (i16)moved_sample(job.left, job.flow, 0, (float)SAMPLES, y, x);
        rights[i] = (i16)moved_sample(job.right, job.flow, 2, (float)SAMPLES, y, x);
    }
}

// `luma::difference` in a cell of those staged for displacement d, at the cell's phase.
__device__ unsigned difference_of(const Job& job, const i16* lefts, const i16* rights, int cy, int cx, int d) {
    float t = *job.phase.at(inside(job.y + cy, job.phase.height), inside(job.x + cx, job.phase.width));
    int2 dy = split(d / SIDE, t), dx = split(d % SIDE, t);
    int corner = (SAMPLES * cy + BORDER) * WIDE + SAMPLES * cx + BORDER;
    const i16 *left = lefts + (corner - dy.x * WIDE - dx.x), *right = rights + (corner + dy.y * WIDE + dx.y);
    unsigned sum = 0;
    for (int i = 0; i < SAMPLES; i++)
        for (int j = 0; j < SAMPLES; j++) sum += abs(left[i * WIDE + j] - right[i * WIDE + j]);
    return sum;
}

// The answer of cell (y, x) from the sums of all cells staged, by a warp.
__device__ void answer(const Job& job, const u16* sums, int y, int x, float sharpness, const Raster<float>& out,
                       const Raster<float>& difference) {
    int d = threadIdx.x % WARP;
    bool is = d < DISPLACEMENTS;
    unsigned sum = 0;
    for (int dy = -1; dy <= 1; dy++) {
        for (int dx = -1; dx <= 1; dx++) {
            // Where the edge repeats, the cell inside is among those staged, too.
            int cy = inside(y + dy, out.height) - job.y, cx = inside(x + dx, out.width) - job.x;
            if (is) sum += sums[(cy * CELLS + cx) * DISPLACEMENTS + d];
        }
    }
    float score = mean_of_cell(sum) / 9.0f;
    float mean = warp_sum(score) / (float)DISPLACEMENTS;
    score = 1.0f - score / (mean + NOISE);
    float2 moved = softmax_mean(score, sharpness);
    float value = score;
    if (d == DISPLACEMENTS) value = moved.x / (float)SAMPLES;
    if (d == DISPLACEMENTS + 1) value = moved.y / (float)SAMPLES;
    if (d == DISPLACEMENTS + 2) value = CONTRAST * mean;
    if (d < DISPLACEMENTS + 3) out.at(y, x)[d] = value;
    // No displacement lies in the middle of the scores.
    if (d == DISPLACEMENTS / 2 && difference.data) *difference.at(y, x) = (1.0f - score) * (CONTRAST * mean / CONTRAST + NOISE);
}

KERNEL agree(Raster<const u8> left, Raster<const u8> right, Raster<const float> flow, Raster<const float> phase, float sharpness,
             Raster<float> out, Raster<float> difference) {
    __shared__ i16 lefts[WIDE * WIDE];
    __shared__ i16 rights[WIDE * WIDE];
    __shared__ u16 sums[CELLS * CELLS * DISPLACEMENTS];
    Job job = {left, right, flow, phase, (int)blockIdx.y * TILE - 1, (int)blockIdx.x * TILE - 1};
    stage(job, lefts, rights);
    __syncthreads();
    for (int i = threadIdx.x; i < CELLS * CELLS * DISPLACEMENTS; i += THREADS) {
        int cell = i / DISPLACEMENTS, cy = cell / CELLS, cx = cell % CELLS;
        bool is = flow.has(job.y + cy, job.x + cx);
        if (is) sums[i] = (u16)difference_of(job, lefts, rights, cy, cx, i % DISPLACEMENTS);
    }
    __syncthreads();
    for (int i = threadIdx.x / WARP; i < TILE * TILE; i += WARPS) {
        int y = job.y + 1 + i / TILE, x = job.x + 1 + i % TILE;
        // The same for all of a warp.
        if (out.has(y, x)) answer(job, sums, y, x, sharpness, out, difference);
    }
}
EXPORT_COOPERATIVE(agree)
