// Dense inverse search. Bits are those of `reference.rs`.
//
// search_start: a thread a patch, z the direction. Level level.
// Grid: 32 x 8 threads over the patches (rows, columns), z 2.
//
// search_refine: 8 threads a patch. Level level, int turn, int turns: of the 24 turns of a level (3 passes by 2 directions by 4 parities of
// row and column) so many from `turn` on. Patches of one turn do not depend on each other, those of the next do: either one launch a turn, or,
// where a turn has few patches, one block that makes all turns.
// Grid: at most 256 threads a block along x; where `turns` is more than 1 a single block.
//
// search_blend: a thread a sample, z the direction. Level level, Raster<float> forth, back [h, w, 2].
// Grid: 32 x 8 threads over (h, w), z 2.
//
// A thread has one column of a patch's 8 x 8 samples, of the template and its Gauss-Newton steps 24 values in registers. Sums run down
// the columns, then over them as a tree by shuffles among the 8: the order of the reference. Luma is read where it lies,
// coordinates clamped, in place of a copy with a border. Threads of other patches in a warp go other ways; only the 8 wait for each other.
//
// Limited by latency: at 480 x 270 samples a turn has 2,000 patches, 16,000 threads, each some ten fits of 18 reads (from the first
// cache) and 12 shuffles; with up to 168 registers a thread, blocks are small so that they spread over the whole card. The coarse levels are short because one launch makes them.
#include "../cuda/common.cuh"

const int PATCH = 8, STRIDE = PATCH / 2, MARGIN = PATCH + 2, MOST_THREADS = 256;
const float AREA = (float)(PATCH * PATCH), CODE = 1.0f / 255.0f;

struct Patch {
    float flow[2];
    float cost;
    float step[2];
    // Whether the level has lost what it shows, and the pass that changed the flow last.
    int lost, changed;
};

// One level: of both pictures the luma, and of the finer level's the luma, [h, w, 1]; of the coarser level the flow of both
// directions, [h, w, 2]. What there is not is null.
struct Level {
    Raster<const float> luma[2], finer[2], coarser[2];
    // Of both directions, row by row.
    Patch* grids[2];
    int rows, columns;
};

// One direction.
struct Search {
    const Raster<const float>&own, &other, &finer, &coarser;
    Patch* grid;
    const Patch* opposite;
    int rows, columns, pass;
};

__device__ Search search_of(const Level& level, int direction, int pass) {
    int d = direction;
    return {level.luma[d], level.luma[1 - d], level.finer[d], level.coarser[d], level.grids[d], level.grids[1 - d],
            level.rows,    level.columns,     pass};
}

// The nearest sample inside.
__device__ float at(const Raster<const float>& plane, int y, int x) {
    return *plane.at(inside(y, plane.height), inside(x, plane.width));
}

__device__ float fused(float a, float b, float t) { return fmaf(t, b - a, a); }

// Where a patch at (y, x) moved by a flow lies: the first of four samples, and the shares of the right and the lower ones.
struct Place {
    int y, x;
    float share_y, share_x;
};

__device__ float placed(int at, float flow, int size) {
    return fminf(fmaxf((float)at + flow, -(float)PATCH), (float)size) + (float)MARGIN;
}

__device__ Place place_of(const Raster<const float>& plane, int y, int x, float fx, float fy) {
    float py = placed(y, fy, plane.height), px = placed(x, fx, plane.width);
    return {(int)py - MARGIN, (int)px - MARGIN, py - truncf(py), px - truncf(px)};
}

// The threads of a patch, of which this one has column `lane`.
struct Lanes {
    unsigned mask;
    int lane;

    // Of the columns' sums, for all.
    __device__ float sum(float value) const {
        value += __shfl_xor_sync(mask, value, 1);
        value += __shfl_xor_sync(mask, value, 2);
        return value + __shfl_xor_sync(mask, value, 4);
    }
    __device__ float products(const float a[PATCH], const float b[PATCH]) const {
        float column = 0.0f;
        for (int i = 0; i < PATCH; i++) column = fmaf(a[i], b[i], column);
        return sum(column);
    }
    __device__ float total(const float a[PATCH]) const {
        float column = 0.0f;
        for (int i = 0; i < PATCH; i++) column = fmaf(a[i], 1.0f, column);
        return sum(column);
    }
};

struct Template {
    float luma[PATCH];
    float variance;
    float slopes[2];
    float steps[2][PATCH];
};

__device__ float variance_of(float sum, float squares) { return fmaxf(squares - sum * sum / AREA, 0.0f); }

__device__ void steps_of(const Lanes& lanes, const float gx[PATCH], const float gy[PATCH], Template& out) {
    const float NOISE = 0.5f * CODE * CODE * AREA;
    float x = lanes.total(gx), y = lanes.total(gy);
    float sum_xx = lanes.products(gx, gx), sum_xy = lanes.products(gx, gy), sum_yy = lanes.products(gy, gy);
    out.slopes[0] = variance_of(x, sum_xx);
    out.slopes[1] = variance_of(y, sum_yy);
    float xx = sum_xx - x * x / AREA + NOISE, xy = sum_xy - x * y / AREA, yy = sum_yy - y * y / AREA + NOISE;
    float scale = 1.0f / fmaxf(xx * yy - xy * xy, NOISE * NOISE);
    float a = yy * scale, b = -xy * scale, d = xx * scale;
    float mean_x = x / AREA, mean_y = y / AREA;
    for (int i = 0; i < PATCH; i++) {
        out.steps[0][i] = a * (gx[i] - mean_x) + b * (gy[i] - mean_y);
        out.steps[1][i] = b * (gx[i] - mean_x) + d * (gy[i] - mean_y);
    }
}

__device__ void make(const Lanes& lanes, const Raster<const float>& own, int y, int x, Template& out) {
    float gx[PATCH], gy[PATCH];
    int column = x + lanes.lane;
    for (int i = 0; i < PATCH; i++) {
        out.luma[i] = at(own, y + i, column);
        gx[i] = 0.5f * (at(own, y + i, column + 1) - at(own, y + i, column - 1));
        gy[i] = 0.5f * (at(own, y + i + 1, column) - at(own, y + i - 1, column));
    }
    out.variance = variance_of(lanes.total(out.luma), lanes.products(out.luma, out.luma));
    steps_of(lanes, gx, gy, out);
}

__device__ Patch fit(const Lanes& lanes, const Template& own, const Raster<const float>& other, int y, int x, float fx, float fy) {
    Place place = place_of(other, y, x, fx, fy);
    float difference[PATCH];
    int column = place.x + lanes.lane;
    float above = fused(at(other, place.y, column), at(other, place.y, column + 1), place.share_x);
    for (int i = 0; i < PATCH; i++) {
        int row = place.y + i + 1;
        float below = fused(at(other, row, column), at(other, row, column + 1), place.share_x);
        difference[i] = fused(above, below, place.share_y) - own.luma[i];
        above = below;
    }
    float cost = variance_of(lanes.total(difference), lanes.products(difference, difference));
    return {{fx, fy}, cost, {lanes.products(own.steps[0], difference), lanes.products(own.steps[1], difference)}, 0, 0};
}

__device__ float distance(const float a[2], const float b[2]) { return fabsf(a[0] - b[0]) + fabsf(a[1] - b[1]); }

// ---- Patterns, as pattern.rs has them.

const float LENGTH = 3e-4f, FAR = 1.0f, PERIOD = 4.5f, ALIKE = 0.25f, UNLIKE = 1.0f;
const float LEAST = 16.0f / 255.0f / 255.0f * 64.0f, LOST = 6.0f, GONE = 20.0f;
const int LONGEST = 12, LEAST_ALIKE = 2;

// A patch whose period is asked for, along an axis (0: x).
struct Pattern {
    const Lanes& lanes;
    const Template& patch;
    const Raster<const float>& own;
    int y, x, axis;

    __device__ float cost(float by) const { return fit(lanes, patch, own, y, x, axis == 0 ? by : 0.0f, axis == 0 ? 0.0f : by).cost; }
    __device__ bool has(float by) const {
        float to = (float)(axis == 0 ? x : y) + by;
        return to >= 0.0f && to + (float)STRIDE < (float)(axis == 0 ? own.width : own.height);
    }
    __device__ bool repeats_after(float period) const {
        int insides = 0, alike = 0;
#pragma unroll 1
        for (int i = 0; i < 4; i++) {
            float by = (i % 2 == 0 ? 1.0f : -1.0f) * (i < 2 ? 1.0f : 2.0f) * period;
            if (!has(by)) continue;
            insides++;
            if (cost(by) < ALIKE * patch.variance * fabsf(by) / period) alike++;
        }
        return alike >= LEAST_ALIKE && alike + 1 >= insides;
    }
};

// `pattern::period`; 0 where there is none.
__device__ float period_along(const Lanes& lanes, const Template& patch, const Raster<const float>& own, int y, int x, int axis) {
    if (patch.variance < LEAST) return 0.0f;
    Pattern pattern = {lanes, patch, own, y, x, axis};
    float side = pattern.has((float)LONGEST) ? 1.0f : -1.0f;
    float costs[LONGEST + 2];
    int unlike = -1;
#pragma unroll 1
    for (int by = 0; by < LONGEST + 2; by++) {
        costs[by] = pattern.cost(side * (float)by);
        if (unlike < 0 && costs[by] > UNLIKE * patch.variance) unlike = by;
    }
    if (unlike < 0) return 0.0f;
#pragma unroll 1
    for (int by = unlike + 1; by <= LONGEST; by++) {
        if (!(costs[by] <= costs[by - 1] && costs[by] < costs[by + 1])) continue;
        float before = costs[by - 1] - costs[by], after = costs[by + 1] - costs[by];
        float period = (float)by + 0.5f * (before - after) / (before + after);
        if (pattern.repeats_after(period)) return period;
    }
    return 0.0f;
}

__device__ bool is_lost(const Lanes& lanes, const Template& patch, const Raster<const float>& finer, int y, int x) {
    Template there;
    int fy = min(2 * y + STRIDE, finer.height), fx = min(2 * x + STRIDE, finer.width);
    make(lanes, finer, fy, fx, there);
#pragma unroll 1
    for (int axis = 0; axis < 2; axis++) {
        float before = axis == 0 ? there.slopes[0] : there.slopes[1], after = axis == 0 ? patch.slopes[0] : patch.slopes[1];
        if (!(before > LEAST)) continue;
        if (before > GONE * after) return true;
        if (before > LOST * after && period_along(lanes, there, finer, fy, fx, axis) != 0.0f) return true;
    }
    return false;
}

// Which of two places a patch is taken for.
struct Choice {
    const Lanes& lanes;
    const Template& patch;
    const Raster<const float>& own;
    int y, x;
    float start[2];
    bool asked;
    float period;

    __device__ float rate(const Patch& found) const {
        const float none[2] = {0.0f, 0.0f};
        return found.cost + LENGTH * patch.variance * distance(found.flow, none);
    }
    // Whether what was found is better than the best so far, by this factor and this cost.
    __device__ bool prefers(const Patch& found, const Patch& best, float factor, float more) {
        bool better = rate(found) * factor + more < rate(best);
        float further = distance(found.flow, start) - distance(best.flow, start);
        if (!better || further < FAR) return better;
        if (!asked) {
            asked = true;
            period = period_along(lanes, patch, own, y, x, 0);
            if (period == 0.0f) period = period_along(lanes, patch, own, y, x, 1);
        }
        return period == 0.0f || found.cost + PERIOD * patch.variance * further / period < best.cost;
    }
};

// ---- The search, as descent.rs has it.

const int DESCENTS = 3;
const float LEAST_GAIN = 0.03f, CLOSE = 0.25f, STILL_FACTOR = 4.0f, STILL_MORE = 0.002f;

// The flow that patch (i, j) starts from.
__device__ void start_of(const Raster<const float>& coarser, int i, int j, float flow[2]) {
    flow[0] = flow[1] = 0.0f;
    if (!coarser.data) return;
    int y = (i + 1) * STRIDE / 2, x = (j + 1) * STRIDE / 2;
    for (int k = 0; k < 4; k++) {
        const float* corner = coarser.at(min(y - 1 + k / 2, coarser.height - 1), min(x - 1 + k % 2, coarser.width - 1));
        flow[0] += corner[0];
        flow[1] += corner[1];
    }
    flow[0] *= 0.5f;
    flow[1] *= 0.5f;
}

__device__ bool is_at_rest(const Patch& patch) { return patch.step[0] == 0.0f && patch.step[1] == 0.0f; }

__device__ Patch descend(const Lanes& lanes, const Template& patch, const Raster<const float>& other, int y, int x,
                         const Patch& start) {
    Patch best = start;
#pragma unroll 1
    for (int i = 0; i < DESCENTS; i++) {
        float fx = best.flow[0] - best.step[0], fy = best.flow[1] - best.step[1];
        bool near = fabsf(fx - start.flow[0]) <= (float)PATCH && fabsf(fy - start.flow[1]) <= (float)PATCH;
        if (!near || is_at_rest(best)) break;
        Patch next = fit(lanes, patch, other, y, x, fx, fy);
        float gain = best.cost - next.cost;
        if (gain > 0.0f) best = next;
        if (!(gain > LEAST_GAIN * next.cost)) best.step[0] = best.step[1] = 0.0f;
    }
    return best;
}

// What a patch may take over: of those above, left, right and below, and the opposite of what lies where it leads to.
// `fresh` are those that may have changed since they were looked at last.
struct Candidates {
    float flows[5][2];
    bool has[5], fresh[5];
};

__device__ int nearest(int i, float flow, int count) {
    float place = (float)i + flow / (float)STRIDE + 0.5f;
    return place > 0.0f ? (int)fminf(place, (float)(count - 1)) : 0;
}

__device__ bool is_fresh(const Search& search, const Patch& patch) { return patch.changed + 1 >= search.pass; }

__device__ Candidates around(const Search& search, int i, int j) {
    Candidates all = {};
    const int by[4][2] = {{-1, 0}, {0, -1}, {0, 1}, {1, 0}};
    for (int k = 0; k < 4; k++) {
        int y = i + by[k][0], x = j + by[k][1];
        all.has[k] = y >= 0 && y < search.rows && x >= 0 && x < search.columns;
        if (!all.has[k]) continue;
        const Patch& patch = search.grid[y * search.columns + x];
        all.flows[k][0] = patch.flow[0];
        all.flows[k][1] = patch.flow[1];
        all.fresh[k] = is_fresh(search, patch);
    }
    all.has[4] = search.pass > 0;
    if (!all.has[4]) return all;
    const Patch& own = search.grid[i * search.columns + j];
    int y = nearest(i, own.flow[1], search.rows), x = nearest(j, own.flow[0], search.columns);
    const Patch& there = search.opposite[y * search.columns + x];
    all.flows[4][0] = -there.flow[0];
    all.flows[4][1] = -there.flow[1];
    // It may be another patch than the last time.
    all.fresh[4] = is_fresh(search, there) || is_fresh(search, own);
    return all;
}

// A patch that moves as those around it do.
__device__ Patch among(const Patch& patch, const Candidates& near) {
    float sum[2] = {0.0f, 0.0f};
    int count = 0;
    for (int k = 0; k < 4; k++) {
        if (!near.has[k]) continue;
        count++;
        sum[0] += near.flows[k][0];
        sum[1] += near.flows[k][1];
    }
    float share = 1.0f / (float)max(count, 1);
    return {{share * sum[0], share * sum[1]}, patch.cost, {0.0f, 0.0f}, 1, patch.changed};
}

__device__ Patch refined(const Lanes& lanes, const Search& search, int i, int j, const Patch& patch, const Candidates& near) {
    bool tried = true;
    for (int k = 0; k < 5; k++) tried &= !near.has[k] || !near.fresh[k] || distance(near.flows[k], patch.flow) <= CLOSE;
    if (search.pass > 0 && is_at_rest(patch) && tried) return patch;
    if (search.pass > 0 && patch.lost) return among(patch, near);
    int y = i * STRIDE, x = j * STRIDE;
    Template own;
    make(lanes, search.own, y, x, own);
    if (search.pass == 0 && search.finer.data && is_lost(lanes, own, search.finer, y, x)) return among(patch, near);
    Choice choice = {lanes, own, search.own, y, x, {0.0f, 0.0f}, false, 0.0f};
    start_of(search.coarser, i, j, choice.start);
    Patch best = patch;
    if (search.pass == 0) {
        best = fit(lanes, own, search.other, y, x, patch.flow[0], patch.flow[1]);
        const float none[2] = {0.0f, 0.0f};
        if (distance(patch.flow, none) > CLOSE) {
            Patch still = fit(lanes, own, search.other, y, x, 0.0f, 0.0f);
            if (still.cost < best.cost) {
                still = descend(lanes, own, search.other, y, x, still);
                if (choice.prefers(still, best, STILL_FACTOR, STILL_MORE)) best = still;
            }
        }
    }
#pragma unroll 1
    for (int k = 0; k < 5; k++) {
        if (!near.has[k] || !near.fresh[k] || !(distance(near.flows[k], best.flow) > CLOSE)) continue;
        Patch found = fit(lanes, own, search.other, y, x, near.flows[k][0], near.flows[k][1]);
        if (choice.prefers(found, best, 1.0f, 0.0f)) best = found;
    }
    Patch found = descend(lanes, own, search.other, y, x, best);
    if (distance(found.flow, best.flow) > FAR && !choice.prefers(found, best, 1.0f, 0.0f)) {
        best.step[0] = best.step[1] = 0.0f;
        return best;
    }
    return found;
}

// All patches of one turn.
__device__ void take_turn(const Level& level, int turn) {
    int pass = turn / 8, direction = turn / 4 % 2, backwards = pass % 2;
    int row_parity = (turn / 2 % 2) ^ backwards, column_parity = (turn % 2) ^ backwards;
    Search search = search_of(level, direction, pass);
    int across = (level.columns - column_parity + 1) / 2, down = (level.rows - row_parity + 1) / 2;
    int thread = (int)threadIdx.x, patches = (int)blockDim.x / PATCH;
    Lanes lanes = {0xffu << (thread % 32 / PATCH * PATCH), thread % PATCH};
#pragma unroll 1
    for (int p = (int)blockIdx.x * patches + thread / PATCH; p < across * down; p += (int)gridDim.x * patches) {
        int i = 2 * (p / across) + row_parity, j = 2 * (p % across) + column_parity;
        Patch* patch = &search.grid[i * level.columns + j];
        Patch before = *patch, found = refined(lanes, search, i, j, before, around(search, i, j));
        bool same = found.flow[0] == before.flow[0] && found.flow[1] == before.flow[1];
        found.changed = same ? before.changed : pass;
        // All threads of the patch have read what it was.
        __syncwarp(lanes.mask);
        if (lanes.lane == 0) *patch = found;
    }
}

KERNEL search_start(Level level) {
    int j = column(), i = row(), direction = blockIdx.z;
    if (i >= level.rows || j >= level.columns) return;
    Patch patch = {};
    start_of(level.coarser[direction], i, j, patch.flow);
    level.grids[direction][i * level.columns + j] = patch;
}
EXPORT(search_start)

KERNEL __launch_bounds__(MOST_THREADS) search_refine(Level level, int turn, int turns) {
#pragma unroll 1
    for (int i = 0; i < turns; i++) {
        take_turn(level, turn + i);
        if (i + 1 < turns) __syncthreads();
    }
}
EXPORT_COOPERATIVE(search_refine)

__device__ float window(int i) {
    // Symmetric: 0.3, 0.6, 0.85, 1 from either end.
    i = min(i, PATCH - 1 - i);
    return i == 0 ? 0.3f : i == 1 ? 0.6f : i == 2 ? 0.85f : 1.0f;
}

// Weight at sample (y, x) of the patch at row and column (top, left) that moves by a flow.
__device__ float weight_of(const Raster<const float>& own, const Raster<const float>& other, int top, int left, int y, int x,
                           const float flow[2]) {
    Place place = place_of(other, top, left, flow[0], flow[1]);
    int r = y - top, c = x - left, py = place.y + r, px = place.x + c;
    float above = fused(at(other, py, px), at(other, py, px + 1), place.share_x);
    float below = fused(at(other, py + 1, px), at(other, py + 1, px + 1), place.share_x);
    float difference = fused(above, below, place.share_y) - *own.at(y, x);
    return window(r) * window(c) / fmaxf(difference * difference, CODE * CODE);
}

KERNEL search_blend(Level level, Raster<float> forth, Raster<float> back) {
    int x = column(), y = row(), d = blockIdx.z;
    if (!forth.has(y, x)) return;
    float sums[2] = {0.0f, 0.0f}, weights = 0.0f;
    for (int j = max(x / STRIDE - 1, 0); j < min(level.columns, x / STRIDE + 1); j++) {
        for (int i = max(y / STRIDE - 1, 0); i < min(level.rows, y / STRIDE + 1); i++) {
            const float* flow = level.grids[d][i * level.columns + j].flow;
            float weight = weight_of(level.luma[d], level.luma[1 - d], i * STRIDE, j * STRIDE, y, x, flow);
            sums[0] += weight * flow[0];
            sums[1] += weight * flow[1];
            weights += weight;
        }
    }
    float* to = (d == 0 ? forth : back).at(y, x);
    to[0] = sums[0] / weights;
    to[1] = sums[1] / weights;
}
EXPORT(search_blend)
