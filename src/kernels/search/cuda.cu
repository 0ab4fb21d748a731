// Dense inverse search. Bits are those of `reference.rs`.
//
// search_refine: a warp a patch, of both directions. Level level, int pass: one of the 4 passes of a level. All patches of a pass look at
// what the pass before has found, in grids of its own; in the first one they start from what the coarser level has found. int each: patches
// of a warp, 1 or, behind the first pass, 4: it looks at all of them at once whether there is anything new, at most of them there is not.
// Grid: 64 threads a block along x.
//
// search_blend: a thread a sample, z the direction, after the last pass. Level level, Raster<float> forth, back [h, w, 2].
// Grid: 32 x 8 threads over (h, w), z 2.
//
// search_seek: a warp for four patches of both directions that lie far apart, after the second pass, in the levels that are sought in. Level level.
// What a warp does not find explained it compares to the unexplained ones around, four places at a time. Grid: 64 threads a block along x.
//
// search_settle: a thread a patch of both directions, after search_seek. Level level. Grid: 64 threads a block along x.
//
// search_level: all of it in one launch, for a level that has few patches. Arguments as of search_blend.
// Grid: a single block of 384 threads along x.
//
// A warp is four groups of 8 threads; each group compares the patch to another place, if there are so many to look at, and what they found
// is judged in the reference's order. A thread has one column of the patch's 8 x 8 samples, of the template and its Gauss-Newton steps 24
// values in registers. Sums run down the columns, then over them as a tree by shuffles: the order of the reference. Luma is read where it
// lies, coordinates clamped, in place of a copy with a border.
//
// Limited by latency where a level has few patches: reads and comparisons that wait for each other, at least what a patch is, what is around
// it, what it shows, where that leads, and up to three steps. At 480 x 270 samples a pass has 16,000 patches and is limited by
// instructions, some 200 a comparison. The code is kept short (repeated patterns apart): each launch has to fetch it anew.
#include "../cuda/common.cuh"

const int PATCH = 8, STRIDE = PATCH / 2, MARGIN = PATCH + 2;
// That compare a patch side by side, and the threads of a patch.
const int GROUPS = 4, THREADS = GROUPS * PATCH;
const int PASSES = 4;
// Threads of the blocks of search_refine, of which six fit a multiprocessor side by side, and of the one of search_level: as many as have
// all the registers that they want (168).
const int BLOCK = 64, BLOCKS_AT_ONCE = 6, SINGLE_BLOCK = 384;
const float AREA = (float)(PATCH * PATCH), CODE = 1.0f / 255.0f;

struct Patch {
    float flow[2];
    float cost;
    float step[2];
    // Whether the level has lost what it shows, and the pass that changed the flow last.
    int lost, changed;
    // See `hidden_of`.
    float hidden;
    // Of what it shows, see `Template`.
    float variance;
};

// One level: of both pictures the luma, of the finer level's the luma, and of the finest size that there is, if that is another one, [h, w, 1];
// of the coarser level the flow of both directions, [h, w, 2]. What there is not is null. The finest level is the one whose finer one is
// not searched itself.
struct Level {
    Raster<const float> luma[2], finer[2], base[2], coarser[2];
    // Row by row, what passes of even and of odd numbers find, of both directions each.
    Patch* grids[2][2];
    int rows, columns;
    int is_finest;
    // Samples of `base` in one.
    int factor;
};

// One direction, in one pass.
struct Search {
    Raster<const float> luma[2], finer[2], base, coarser;
    // What was found by the pass before, and what was found the other way.
    const Patch *before, *opposite;
    int rows, columns, is_finest, factor, pass;

    // How far above, left, right and below a patch looks.
    __device__ int distance() const { return pass == 0 ? 4 : pass == 1 ? 2 : 1; }
};

__device__ Search search_of(const Level& level, int direction, int pass) {
    int d = direction;
    Patch* const* before = level.grids[1 - pass % 2];
    return {{level.luma[d], level.luma[1 - d]}, {level.finer[d], level.finer[1 - d]}, level.base[d], level.coarser[d],
            before[d], before[1 - d], level.rows, level.columns, level.is_finest, level.factor, pass};
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

// A column of a plane and those to either side, the edge repeated all around.
struct Column {
    const char* top;
    // Bytes from a row to the next, as one instruction then makes an address; and values from this column to those beside it.
    int last, row, left, right;

    __device__ Column(const Raster<const float>& plane, int x) : last(plane.height - 1), row(plane.row * (int)sizeof(float)) {
        int column = inside(x, plane.width);
        top = (const char*)plane.at(0, column);
        left = (inside(x - 1, plane.width) - column) * plane.pixel;
        right = (inside(x + 1, plane.width) - column) * plane.pixel;
    }
    __device__ const float* at(int y) const { return (const float*)(top + (long long)min(max(y, 0), last) * row); }
};

// This thread among those of a patch, which all go the same way: it has one column of the patch that its group of 8 compares.
struct Lanes {
    unsigned mask;
    // Of the first one in the warp.
    int first;
    int lane, group, column;

    __device__ Lanes() {
        int thread = (int)(threadIdx.x % WARP);
        lane = thread % THREADS;
        first = thread - lane;
        group = lane / PATCH;
        column = lane % PATCH;
        mask = ALL >> (WARP - THREADS) << first;
    }
    // Over the columns of this group, neighbours first, of four values: of which sum a thread has, see `of`.
    __device__ float sums(float a, float b, float c, float d) const {
        bool odd = lane & 1, upper = lane & 2;
        float first = (odd ? c : a) + __shfl_xor_sync(mask, odd ? a : c, 1);
        float second = (odd ? d : b) + __shfl_xor_sync(mask, odd ? b : d, 1);
        float sum = (upper ? second : first) + __shfl_xor_sync(mask, upper ? first : second, 2);
        return sum + __shfl_xor_sync(mask, sum, 4);
    }
    // For all threads: the sum of the `which`-th value over the columns of a group.
    __device__ float of(float sums, int group, int which) const { return from(sums, group * PATCH + which / 2 + which % 2 * 2); }
    // What another thread has.
    __device__ float from(float value, int lane) const { return __shfl_sync(mask, value, first + lane); }
    // Of which threads something is so, from the lowest bit on.
    __device__ unsigned which(bool so) const { return (__ballot_sync(mask, so) & mask) >> first; }
    // Of how many groups.
    __device__ int groups(bool so) const { return __popc(which(so)) / PATCH; }
};

// What is read of a patch's column, and of those beside it, to know its gradients.
struct Samples {
    float middle[PATCH + 2], left[PATCH], right[PATCH];

    __device__ Samples(const Lanes& lanes, const Raster<const float>& plane, int y, int x) {
        Column column(plane, x + lanes.column);
        for (int i = 0; i < PATCH + 2; i++) {
            const float* from = column.at(y + i - 1);
            middle[i] = *from;
            if (i == 0 || i > PATCH) continue;
            left[i - 1] = from[column.left];
            right[i - 1] = from[column.right];
        }
    }
    __device__ float luma(int i) const { return middle[i + 1]; }
    __device__ float slope_x(int i) const { return 0.5f * (right[i] - left[i]); }
    __device__ float slope_y(int i) const { return 0.5f * (middle[i + 2] - middle[i]); }
};

// A column of what is compared.
struct Template {
    float luma[PATCH];
    float variance;
    float slopes[2];
    float steps[2][PATCH];
};

__device__ float variance_of(float sum, float squares) { return fmaxf(squares - sum * sum / AREA, 0.0f); }

// Of the gradients over a patch: sums along x and y, and sums of the products.
struct Gradients {
    float x, y, xx, yy;

    __device__ Gradients(const Lanes& lanes, const Samples& samples) : x(0.0f), y(0.0f), xx(0.0f), yy(0.0f) {
        for (int i = 0; i < PATCH; i++) {
            float gx = samples.slope_x(i), gy = samples.slope_y(i);
            x += gx;
            y += gy;
            xx = fmaf(gx, gx, xx);
            yy = fmaf(gy, gy, yy);
        }
        float sums = lanes.sums(x, y, xx, yy);
        x = lanes.of(sums, 0, 0);
        y = lanes.of(sums, 0, 1);
        xx = lanes.of(sums, 0, 2);
        yy = lanes.of(sums, 0, 3);
    }
    __device__ float slope(int axis) const { return axis == 0 ? variance_of(x, xx) : variance_of(y, yy); }
};

__device__ void make(const Lanes& lanes, const Samples& samples, Template& out) {
    const float NOISE = 0.5f * CODE * CODE * AREA;
    Gradients sums(lanes, samples);
    out.slopes[0] = sums.slope(0);
    out.slopes[1] = sums.slope(1);
    float total = 0.0f, squares = 0.0f, products = 0.0f;
    for (int i = 0; i < PATCH; i++) {
        out.luma[i] = samples.luma(i);
        total += out.luma[i];
        squares = fmaf(out.luma[i], out.luma[i], squares);
        products = fmaf(samples.slope_x(i), samples.slope_y(i), products);
    }
    float rest = lanes.sums(total, squares, products, 0.0f);
    out.variance = variance_of(lanes.of(rest, 0, 0), lanes.of(rest, 0, 1));
    float x = sums.x, y = sums.y;
    float xx = sums.xx - x * x / AREA + NOISE, xy = lanes.of(rest, 0, 2) - x * y / AREA, yy = sums.yy - y * y / AREA + NOISE;
    float scale = 1.0f / fmaxf(xx * yy - xy * xy, NOISE * NOISE);
    float a = yy * scale, b = -xy * scale, d = xx * scale;
    float mean_x = x / AREA, mean_y = y / AREA;
    for (int i = 0; i < PATCH; i++) {
        float from_x = samples.slope_x(i) - mean_x, from_y = samples.slope_y(i) - mean_y;
        out.steps[0][i] = a * from_x + b * from_y;
        out.steps[1][i] = b * from_x + d * from_y;
    }
}

// Differences of a column to where a flow leads.
__device__ void differ(const Lanes& lanes, const float luma[PATCH], const Raster<const float>& other, int y, int x, float fx, float fy,
                       float out[PATCH]) {
    Place place = place_of(other, y, x, fx, fy);
    Column column(other, place.x + lanes.column);
    float across[PATCH + 1];
    for (int i = 0; i <= PATCH; i++) {
        const float* from = column.at(place.y + i);
        across[i] = fused(*from, from[column.right], place.share_x);
    }
    for (int i = 0; i < PATCH; i++) out[i] = fused(across[i], across[i + 1], place.share_y) - luma[i];
}

// Where a patch lies in the luma that it is compared in: of its own picture and the other one.
struct Sight {
    Raster<const float> own, other;
    int y, x;
    // How many samples of it one of the level's is.
    float scale;
};

// How each group's flow fits, for `found_by`.
__device__ float fit(const Lanes& lanes, const Template& own, const Sight& sight, float fx, float fy) {
    float difference[PATCH], total = 0.0f, squares = 0.0f, step_x = 0.0f, step_y = 0.0f;
    differ(lanes, own.luma, sight.other, sight.y, sight.x, sight.scale * fx, sight.scale * fy, difference);
    for (int i = 0; i < PATCH; i++) {
        total += difference[i];
        squares = fmaf(difference[i], difference[i], squares);
        step_x = fmaf(own.steps[0][i], difference[i], step_x);
        step_y = fmaf(own.steps[1][i], difference[i], step_y);
    }
    return lanes.sums(total, squares, step_x, step_y);
}

// For all threads: what a group has found.
__device__ Patch found_by(const Lanes& lanes, const Sight& sight, float fits, int group, float fx, float fy) {
    float cost = variance_of(lanes.of(fits, group, 0), lanes.of(fits, group, 1));
    return {{fx, fy}, cost, {lanes.of(fits, group, 2) / sight.scale, lanes.of(fits, group, 3) / sight.scale}, 0, 0, 0.0f, 0.0f};
}

__device__ float distance(const float a[2], const float b[2]) { return fabsf(a[0] - b[0]) + fabsf(a[1] - b[1]); }

// ---- Patterns, as pattern.rs has them.

const float LENGTH = 3e-4f, FIRST_LENGTH = 0.1f, WAY = 0.03f, FAR = 1.0f, PERIOD = 2.0f, ALIKE = 0.25f, UNLIKE = 1.0f;
const float LEAST = 16.0f / 255.0f / 255.0f * 64.0f, LOST = 3.0f, GONE = 20.0f;
const int LONGEST = 12, LEAST_ALIKE = 2;

// A patch whose period is asked for, along an axis (0: x).
struct Pattern {
    const Lanes& lanes;
    const Raster<const float>& own;
    int y, x, axis;
    float luma[PATCH], variance;

    __device__ Pattern(const Lanes& lanes, const Raster<const float>& own, int y, int x)
        : lanes(lanes), own(own), y(y), x(x), axis(0) {
        Column column(own, x + lanes.column);
        float total = 0.0f, squares = 0.0f;
        for (int i = 0; i < PATCH; i++) {
            luma[i] = *column.at(y + i);
            total += luma[i];
            squares = fmaf(luma[i], luma[i], squares);
        }
        float sums = lanes.sums(total, squares, 0.0f, 0.0f);
        variance = variance_of(lanes.of(sums, 0, 0), lanes.of(sums, 0, 1));
    }
    // Of the patch that lies `by` away, each group's, to this thread that of `group`.
    __device__ float cost(float by, int group) const {
        float difference[PATCH], total = 0.0f, squares = 0.0f;
        differ(lanes, luma, own, y, x, axis == 0 ? by : 0.0f, axis == 0 ? 0.0f : by, difference);
        for (int i = 0; i < PATCH; i++) {
            total += difference[i];
            squares = fmaf(difference[i], difference[i], squares);
        }
        float sums = lanes.sums(total, squares, 0.0f, 0.0f);
        return variance_of(lanes.of(sums, group, 0), lanes.of(sums, group, 1));
    }
    __device__ bool has(float by) const {
        float to = (float)(axis == 0 ? x : y) + by;
        return to >= 0.0f && to + (float)STRIDE < (float)(axis == 0 ? own.width : own.height);
    }
    // Each group looks at another place.
    __device__ bool repeats_after(float period) const {
        int insides = 0, alike = 0;
#pragma unroll 1
        for (int i = lanes.group; i < 4; i += GROUPS) {
            float by = (i % 2 == 0 ? 1.0f : -1.0f) * (i < 2 ? 1.0f : 2.0f) * period;
            bool is_alike = cost(by, lanes.group) < ALIKE * variance * fabsf(by) / period;
            insides += lanes.groups(has(by));
            alike += lanes.groups(has(by) && is_alike);
        }
        return alike >= LEAST_ALIKE && alike + 1 >= insides;
    }
    // 0 where there is none.
    __device__ float period() const {
        float side = has((float)LONGEST) ? 1.0f : -1.0f;
        // Thread i has that of i samples away.
        float own_cost = 0.0f;
#pragma unroll 1
        for (int by = 0; by < LONGEST + 2; by += GROUPS) {
            float found = cost(side * (float)(by + lanes.group), lanes.lane % GROUPS);
            if (lanes.lane / GROUPS == by / GROUPS) own_cost = found;
        }
        bool is_one = lanes.lane < LONGEST + 2;
        unsigned unlike = lanes.which(is_one && own_cost > UNLIKE * variance);
        float before = lanes.from(own_cost, max(lanes.lane - 1, 0));
        float after = lanes.from(own_cost, min(lanes.lane + 1, THREADS - 1));
        bool is_least = lanes.lane <= LONGEST && own_cost <= before && own_cost < after;
        // Beyond the first that is unlike; none where there is no such one.
        unsigned least = lanes.which(is_least && (unlike & ((1u << lanes.lane) - 1)) != 0);
        before -= own_cost;
        after -= own_cost;
        float vertex = (float)lanes.lane + 0.5f * (before - after) / (before + after);
#pragma unroll 1
        for (; least; least &= least - 1) {
            float period = lanes.from(vertex, __ffs(least) - 1);
            if (repeats_after(period)) return period;
        }
        return 0.0f;
    }
};

// `pattern::period` along the axes from `first` to `last` (0: x), the first one that there is; 0 where there is none. Few patches are
// asked, so that the code lies apart.
__device__ __noinline__ float period_along(Lanes lanes, Raster<const float> own, int y, int x, int first, int last) {
    Pattern pattern(lanes, own, y, x);
    if (pattern.variance < LEAST) return 0.0f;
#pragma unroll 1
    for (pattern.axis = first; pattern.axis <= last; pattern.axis++) {
        float period = pattern.period();
        if (period != 0.0f) return period;
    }
    return 0.0f;
}

// Which of two places a patch is taken for.
struct Choice {
    const Lanes& lanes;
    const Sight& sight;
    float variance;
    // The flow that the search starts from, unless this is the coarsest level, and what is hidden, see `hidden_of`.
    float start[2];
    bool is_first_level;
    float hidden;
    bool asked;
    float period;

    __device__ float rate(const Patch& found) const {
        const float none[2] = {0.0f, 0.0f};
        float share = is_first_level ? FIRST_LENGTH : LENGTH;
        return found.cost + share * variance * distance(found.flow, none) + WAY * hidden * distance(found.flow, start);
    }
    // Whether what was found is better than the best so far, by this factor and this cost.
    __device__ bool prefers(const Patch& found, const Patch& best, float factor, float more) {
        bool better = rate(found) * factor + more < rate(best);
        float further = distance(found.flow, start) - distance(best.flow, start);
        if (!better || further < FAR) return better;
        if (!asked) {
            asked = true;
            period = period_along(lanes, sight.own, sight.y, sight.x, 0, 1);
        }
        return period == 0.0f || found.cost + PERIOD * variance * (sight.scale * further) / period < best.cost;
    }
};

// ---- The search, as descent.rs has it.

const int DESCENTS = 3;
const float LEAST_GAIN = 0.03f, CLOSE = 0.25f, STILL_FACTOR = 4.0f, STILL_MORE = 0.002f;

// What lies at the middle of patch (i, j) in the coarser level, if there is one: the samples around.
struct Corners {
    float flows[4][2];

    __device__ Corners(const Raster<const float>& coarser, int i, int j) : flows{} {
        if (!coarser.data) return;
        int y = (i + 1) * STRIDE / 2, x = (j + 1) * STRIDE / 2;
        for (int k = 0; k < 4; k++) {
            const float* corner = coarser.at(min(y - 1 + k / 2, coarser.height - 1), min(x - 1 + k % 2, coarser.width - 1));
            flows[k][0] = corner[0];
            flows[k][1] = corner[1];
        }
    }
    // The flow that the patch starts from.
    __device__ float start(int axis) const {
        float sum = 0.0f;
        for (int k = 0; k < 4; k++) sum += flows[k][axis];
        return 0.5f * sum;
    }
};

__device__ bool is_at_rest(const Patch& patch) { return patch.step[0] == 0.0f && patch.step[1] == 0.0f; }

// All groups follow the same steps.
__device__ Patch descend(const Lanes& lanes, const Template& patch, const Sight& sight, const Patch& start) {
    Patch best = start;
#pragma unroll 1
    for (int i = 0; i < DESCENTS; i++) {
        float fx = best.flow[0] - best.step[0], fy = best.flow[1] - best.step[1];
        bool near = fabsf(fx - start.flow[0]) <= (float)PATCH && fabsf(fy - start.flow[1]) <= (float)PATCH;
        if (!near || is_at_rest(best)) break;
        Patch next = found_by(lanes, sight, fit(lanes, patch, sight, fx, fy), 0, fx, fy);
        float gain = best.cost - next.cost;
        if (gain > 0.0f) best = next;
        if (!(gain > LEAST_GAIN * next.cost)) best.step[0] = best.step[1] = 0.0f;
    }
    return best;
}

// What a patch may take over, in the order in which it is tried, each known to the thread of that number: in the first pass its own flow
// and none; those of the patches above, left, right and below; then the opposite of what lies where it leads to.
enum { START, STILL, ABOVE, LEFT, RIGHT, BELOW, OPPOSITE };

struct Candidate {
    float flow[2];
    // Whether there is one, and whether it may have changed since it was looked at last.
    bool has, fresh;
};

__device__ int nearest(int i, float flow, int count) {
    float place = (float)i + flow / (float)STRIDE + 0.5f;
    return place > 0.0f ? (int)fminf(place, (float)(count - 1)) : 0;
}

// What is known of a patch: nothing but its start before the first pass.
__device__ Patch patch_at(const Search& search, const Patch* grid, int i, int j) {
    if (search.pass > 0) return grid[i * search.columns + j];
    Corners corners(search.coarser, i, j);
    return {{corners.start(0), corners.start(1)}, 0.0f, {0.0f, 0.0f}, 0, 0, 0.0f, 0.0f};
}

__device__ bool is_fresh(const Search& search, const Patch& patch) { return patch.changed + 1 >= search.pass; }

__device__ Candidate candidate_of(const Search& search, int i, int j, const Patch& own, int k) {
    const float none[2] = {0.0f, 0.0f};
    if (k == START) return {{own.flow[0], own.flow[1]}, search.pass == 0, true};
    if (k == STILL) return {{0.0f, 0.0f}, search.pass == 0 && distance(own.flow, none) > CLOSE, true};
    int far = search.distance();
    int y = k == ABOVE ? i - far : k == BELOW ? i + far : i, x = k == LEFT ? j - far : k == RIGHT ? j + far : j;
    if (k == OPPOSITE) {
        y = nearest(i, own.flow[1], search.rows);
        x = nearest(j, own.flow[0], search.columns);
    }
    bool has = k == OPPOSITE ? search.pass > 0 : k < OPPOSITE && y >= 0 && y < search.rows && x >= 0 && x < search.columns;
    if (!has) return {};
    Patch there = patch_at(search, k == OPPOSITE ? search.opposite : search.before, y, x);
    float sign = k == OPPOSITE ? -1.0f : 1.0f;
    // Opposite, it may be another patch than the last time.
    bool fresh = is_fresh(search, there) || (k == OPPOSITE && is_fresh(search, own));
    return {{sign * there.flow[0], sign * there.flow[1]}, true, fresh};
}

// Whether there is something to look at that the patch does not know.
__device__ bool is_new(const Candidate& near, const Patch& patch) {
    return near.has && near.fresh && !(distance(near.flow, patch.flow) <= CLOSE);
}

// A patch that moves as those around it do, or as it did where there are none.
__device__ Patch among(const Lanes& lanes, const Patch& patch, const Candidate& near) {
    float sum[2] = {0.0f, 0.0f};
    unsigned has = lanes.which(near.has);
    int count = 0;
    for (int k = ABOVE; k <= BELOW; k++) {
        float x = lanes.from(near.flow[0], k), y = lanes.from(near.flow[1], k);
        if (!(has >> k & 1)) continue;
        count++;
        sum[0] += x;
        sum[1] += y;
    }
    float share = 1.0f / (float)max(count, 1);
    float x = count > 0 ? share * sum[0] : patch.flow[0], y = count > 0 ? share * sum[1] : patch.flow[1];
    return {{x, y}, patch.cost, {0.0f, 0.0f}, 1, patch.changed, patch.hidden, patch.variance};
}

// Where a patch at `at` lies, along an axis of so many samples, in luma that is `factor` times as large: around the same middle.
__device__ int within(int at, int factor, int size) { return min(factor * (at + STRIDE) - STRIDE, size); }

// The squares of the gradients at (y, x) along both axes; 0 of a plane that there is not.
struct Slopes {
    float along[2];

    __device__ Slopes(const Lanes& lanes, const Raster<const float>& plane, int y, int x) : along{0.0f, 0.0f} {
        if (!plane.data) return;
        Gradients there(lanes, Samples(lanes, plane, y, x));
        along[0] = there.slope(0);
        along[1] = there.slope(1);
    }
};

// By how much the squares of gradients that the finer level shows are more than the patch's own.
__device__ float hidden_of(const float there[2], const Template& own) {
    return fmaxf(there[0] - own.slopes[0], 0.0f) + fmaxf(there[1] - own.slopes[1], 0.0f);
}

// One patch, at row and column (i, j), and what its warp knows of it.
struct Refinement {
    const Lanes& lanes;
    const Search& search;
    int i, j;

    // By the slopes of what a finer level shows at (y, x), and the patch's own; what has `gone` times less is lost though it does not repeat.
    __device__ bool is_lost(const Raster<const float>& finer, const float there[2], const Template& own, int y, int x, float gone) const {
#pragma unroll 1
        for (int axis = 0; axis < 2; axis++) {
            float before = axis == 0 ? there[0] : there[1], after = axis == 0 ? own.slopes[0] : own.slopes[1];
            if (!(before > LEAST)) continue;
            if (before > gone * after) return true;
            if (before > LOST * after && period_along(lanes, finer, y, x, axis, axis) != 0.0f) return true;
        }
        return false;
    }

    // What is hidden of a pattern that the picture shows at its finest size.
    __device__ float hidden_pattern(const Template& own, int y, int x) const {
        if (!search.base.data) return 0.0f;
        int base_y = within(y, search.factor, search.base.height), base_x = within(x, search.factor, search.base.width);
        Slopes there(lanes, search.base, base_y, base_x);
        return is_lost(search.base, there.along, own, base_y, base_x, INFINITY) ? hidden_of(there.along, own) : 0.0f;
    }

    // The best of those in the set `wanted`. A group each, several at a time are compared to where they lead; then those are judged in
    // order that are better than the best before all of them, as what takes its place is better still.
    __device__ Patch best_of(unsigned wanted, const Candidate& near, const Template& own, Choice& choice, Patch best) const {
        const Sight& sight = choice.sight;
#pragma unroll 1
        while (wanted) {
            int mine = -1;
            unsigned rest = wanted;
            for (int group = 0; group < GROUPS && rest; group++, rest &= rest - 1)
                if (lanes.group == group) mine = __ffs(rest) - 1;
            float fx = lanes.from(near.flow[0], max(mine, 0)), fy = lanes.from(near.flow[1], max(mine, 0));
            float fits = fit(lanes, own, sight, fx, fy);
            Patch here = found_by(lanes, sight, fits, lanes.group, fx, fy);
            if (wanted >> START & 1) best = found_by(lanes, sight, fits, 0, lanes.from(near.flow[0], START), lanes.from(near.flow[1], START));
            bool is_better = mine == STILL ? here.cost < best.cost : choice.rate(here) < choice.rate(best);
            unsigned better = lanes.which(mine > START && is_better);
#pragma unroll 1
            for (int group = 0; group < GROUPS && wanted; group++, wanted &= wanted - 1) {
                if (!(better >> group * PATCH & 1)) continue;
                int k = __ffs(wanted) - 1;
                Patch found = found_by(lanes, sight, fits, group, lanes.from(near.flow[0], k), lanes.from(near.flow[1], k));
                if (k == STILL) found = descend(lanes, own, sight, found);
                else if (!(distance(found.flow, best.flow) > CLOSE)) continue;
                if (choice.prefers(found, best, k == STILL ? STILL_FACTOR : 1.0f, k == STILL ? STILL_MORE : 0.0f)) best = found;
            }
        }
        return best;
    }

    __device__ Patch of(const Patch& patch) const {
        int y = i * STRIDE, x = j * STRIDE;
        // Read at once, as whether it is needed is known only when others have come.
        Corners corners(search.coarser, i, j);
        Samples samples(lanes, search.luma[0], y, x);
        Candidate near = candidate_of(search, i, j, patch, lanes.lane);
        unsigned wanted = lanes.which(near.has && near.fresh), any_new = lanes.which(is_new(near, patch));
        bool is_first = search.pass == 0, lost = !is_first && patch.lost;
        if (!is_first && is_at_rest(patch) && !any_new) return patch;
        if (lost && !search.is_finest) return among(lanes, patch, near);
        int finer_y = within(y, 2, search.finer[0].height), finer_x = within(x, 2, search.finer[0].width);
        Template own;
        make(lanes, samples, own);
        float hidden = patch.hidden;
        if (is_first) {
            Slopes there(lanes, search.finer[0], finer_y, finer_x);
            lost = is_lost(search.finer[0], there.along, own, finer_y, finer_x, GONE);
            if (lost && !search.is_finest) return among(lanes, patch, near);
            hidden = search.is_finest ? 0.0f : fmaxf(hidden_of(there.along, own), hidden_pattern(own, y, x));
        }
        Sight sight = {search.luma[0], search.luma[1], y, x, 1.0f};
        if (lost) {
            // What the finest level has lost is looked for below.
            sight = {search.finer[0], search.finer[1], finer_y, finer_x, 2.0f};
            make(lanes, Samples(lanes, sight.own, finer_y, finer_x), own);
        }
        Choice choice = {lanes, sight, own.variance, {corners.start(0), corners.start(1)}, !search.coarser.data, hidden, false, 0.0f};
        Patch best = best_of(wanted, near, own, choice, patch);
        Patch found = descend(lanes, own, sight, best);
        if (distance(found.flow, best.flow) > FAR && !choice.prefers(found, best, 1.0f, 0.0f)) {
            best.step[0] = best.step[1] = 0.0f;
            found = best;
        }
        found.hidden = hidden;
        found.variance = own.variance;
        found.lost = lost;
        return found;
    }
};

// One of the patches of both directions.
struct Spot {
    int direction, patch, i, j;

    __device__ Spot(const Level& level, int p) : direction(p >= level.rows * level.columns) {
        patch = p - direction * level.rows * level.columns;
        // The only division, as these take long.
        i = (int)((unsigned)patch / (unsigned)level.columns);
        j = patch - i * level.columns;
    }
};

// All threads of a warp, with one patch.
__device__ void refine(const Lanes& lanes, const Level& level, int pass, int p) {
    Spot at(level, p);
    Search search = search_of(level, at.direction, pass);
    Patch before = patch_at(search, search.before, at.i, at.j), found = Refinement{lanes, search, at.i, at.j}.of(before);
    bool same = found.flow[0] == before.flow[0] && found.flow[1] == before.flow[1];
    found.changed = same ? before.changed : pass;
    if (lanes.lane == 0) level.grids[pass % 2][at.direction][at.patch] = found;
}

// Behind the first pass, the patches of the groups of a warp, from p on: those are copied that stay as they are. Which do not: the first bit
// of each group.
__device__ unsigned copy_known(const Lanes& lanes, const Level& level, int pass, int p) {
    bool has = p + lanes.group < 2 * level.rows * level.columns;
    Spot at(level, has ? p + lanes.group : p);
    Search search = search_of(level, at.direction, pass);
    Patch patch = search.before[at.patch];
    unsigned any_new = lanes.which(is_new(candidate_of(search, at.i, at.j, patch, lanes.column), patch));
    bool is_known = is_at_rest(patch) && !(any_new >> lanes.group * PATCH & ((1u << PATCH) - 1));
    if (has && is_known && lanes.column == 0) level.grids[pass % 2][at.direction][at.patch] = patch;
    return lanes.which(has && !is_known && lanes.column == 0);
}

// All patches of one pass, both directions; a warp takes so many together.
__device__ void make_pass(const Level& level, int pass, int each) {
    int warps = (int)blockDim.x / THREADS, warp = (int)blockIdx.x * warps + (int)threadIdx.x / THREADS;
    Lanes lanes;
#pragma unroll 1
    for (int p = each * warp; p < 2 * level.rows * level.columns; p += each * (int)gridDim.x * warps) {
        unsigned left = each == 1 ? 1 : copy_known(lanes, level, pass, p);
#pragma unroll 1
        for (; left; left &= left - 1) refine(lanes, level, pass, p + (__ffs(left) - 1) / PATCH);
    }
}

KERNEL __launch_bounds__(BLOCK, BLOCKS_AT_ONCE) search_refine(Level level, int pass, int each) { make_pass(level, pass, each); }
EXPORT_COOPERATIVE(search_refine)

// ---- What is sought, as seek.rs has it.

// The pass behind which that is, how far it looks, in patches, and what stands in place of a pass's number at what was found.
const int SEEK_PASS = 1, REACH = 4, TURMOIL = 40, FOUND = 255;
const float UNEXPLAINED = 0.5f, BETTER = 0.3f, OPPOSITE_WITHIN = 1.5f;
static_assert(GROUPS == STRIDE, "each group takes one column of the samples around a patch");

__device__ bool is_unexplained(const Patch& patch) {
    return !patch.lost && patch.variance > LEAST && patch.cost > LEAST && patch.cost > UNEXPLAINED * patch.variance;
}

// Which patches of row k and of so many columns from `first` on are unexplained the other way.
__device__ unsigned unexplained(const Lanes& lanes, const Search& search, int k, int first, int last) {
    int mine = first + lanes.lane;
    return lanes.which(mine <= last && is_unexplained(search.opposite[k * search.columns + min(mine, last)]));
}

// All threads of a warp, with one unexplained patch: what it finds, or what it was.
__device__ Patch sought(const Lanes& lanes, const Search& search, int i, int j, const Patch& patch) {
    int top = max(i - REACH, 0), bottom = min(i + REACH, search.rows - 1);
    int first = max(j - REACH, 0), last = min(j + REACH, search.columns - 1), count = 0;
    for (int k = top; k <= bottom; k++) count += __popc(unexplained(lanes, search, k, first, last));
    if (count == 0 || count >= TURMOIL) return patch;
    Sight sight = {search.luma[0], search.luma[1], i * STRIDE, j * STRIDE, 1.0f};
    Template own;
    make(lanes, Samples(lanes, sight.own, sight.y, sight.x), own);
    Patch best = patch;
    bool has = false;
#pragma unroll 1
    for (int k = top; k <= bottom; k++) {
        unsigned there = unexplained(lanes, search, k, first, last);
#pragma unroll 1
        for (; there; there &= there - 1) {
            int left = STRIDE * (first + __ffs(there) - 1 - j) - STRIDE / 2, above = STRIDE * (k - i) - STRIDE / 2;
#pragma unroll 1
            for (int y = above; y < above + STRIDE; y++) {
                float fits = fit(lanes, own, sight, (float)(left + lanes.group), (float)y);
#pragma unroll 1
                for (int group = 0; group < GROUPS; group++) {
                    Patch found = found_by(lanes, sight, fits, group, (float)(left + group), (float)y);
                    if (has && !(found.cost < best.cost)) continue;
                    best = found;
                    has = true;
                }
            }
        }
    }
    best = descend(lanes, own, sight, best);
    if (!(best.cost < BETTER * patch.cost)) return patch;
    best.hidden = patch.hidden;
    best.variance = own.variance;
    best.changed = FOUND;
    return best;
}

KERNEL __launch_bounds__(BLOCK, BLOCKS_AT_ONCE) search_seek(Level level) {
    int warps = (int)(gridDim.x * blockDim.x) / THREADS, warp = (int)(blockIdx.x * blockDim.x + threadIdx.x) / THREADS;
    Lanes lanes;
    int p = warp + lanes.group * warps;
    bool has = p < 2 * level.rows * level.columns;
    Spot at(level, has ? p : 0);
    Patch patch = level.grids[SEEK_PASS % 2][at.direction][at.patch];
    if (has && !is_unexplained(patch) && lanes.column == 0) level.grids[1 - SEEK_PASS % 2][at.direction][at.patch] = patch;
    unsigned left = lanes.which(has && is_unexplained(patch) && lanes.column == 0);
#pragma unroll 1
    for (; left; left &= left - 1) {
        Spot mine(level, warp + (__ffs(left) - 1) / PATCH * warps);
        Search search = search_of(level, mine.direction, SEEK_PASS + 1);
        Patch found = sought(lanes, search, mine.i, mine.j, search.before[mine.patch]);
        if (lanes.lane == 0) level.grids[1 - SEEK_PASS % 2][mine.direction][mine.patch] = found;
    }
}
EXPORT_COOPERATIVE(search_seek)

// Whether a patch that a flow from (i, j) leads to, or one beside it, has found the way back.
__device__ bool is_mutual(const Level& level, const Patch* other, int i, int j, const float flow[2]) {
    int y = nearest(i, flow[1], level.rows), x = nearest(j, flow[0], level.columns);
    for (int k = max(y - 1, 0); k <= min(y + 1, level.rows - 1); k++) {
        for (int l = max(x - 1, 0); l <= min(x + 1, level.columns - 1); l++) {
            const Patch& there = other[k * level.columns + l];
            float back[2] = {-flow[0], -flow[1]};
            if (there.changed == FOUND && distance(there.flow, back) <= OPPOSITE_WITHIN) return true;
        }
    }
    return false;
}

KERNEL search_settle(Level level) {
    int p = (int)(blockIdx.x * blockDim.x + threadIdx.x);
    if (p >= 2 * level.rows * level.columns) return;
    Spot at(level, p);
    Patch* const* grids = level.grids[1 - SEEK_PASS % 2];
    const Patch& found = grids[at.direction][at.patch];
    if (found.changed != FOUND || !is_mutual(level, grids[1 - at.direction], at.i, at.j, found.flow)) return;
    Patch& to = level.grids[SEEK_PASS % 2][at.direction][at.patch];
    to = found;
    to.changed = SEEK_PASS;
}
EXPORT(search_settle)

__device__ float window(int i) {
    // Symmetric: 0.3, 0.6, 0.85, 1 from either end.
    i = min(i, PATCH - 1 - i);
    return i == 0 ? 0.3f : i == 1 ? 0.6f : i == 2 ? 0.85f : 1.0f;
}

// Weight at sample (y, x) of the patch at row and column (top, left) that moves by a flow.
__device__ float weight_of(const Raster<const float>& own, const Raster<const float>& other, int top, int left, int y, int x,
                           const float flow[2]) {
    Place place = place_of(other, top, left, flow[0], flow[1]);
    int r = y - top, c = x - left;
    Column column(other, place.x + c);
    const float *first = column.at(place.y + r), *second = column.at(place.y + r + 1);
    float above = fused(*first, first[column.right], place.share_x), below = fused(*second, second[column.right], place.share_x);
    float difference = fused(above, below, place.share_y) - *own.at(y, x);
    return window(r) * window(c) / fmaxf(difference * difference, CODE * CODE);
}

// What sample (y, x) moves by in a direction.
__device__ void blend(const Level& level, int direction, int y, int x, float* to) {
    const Patch* grid = level.grids[(PASSES - 1) % 2][direction];
    float sums[2] = {0.0f, 0.0f}, weights = 0.0f;
    for (int j = max(x / STRIDE - 1, 0); j < min(level.columns, x / STRIDE + 1); j++) {
        for (int i = max(y / STRIDE - 1, 0); i < min(level.rows, y / STRIDE + 1); i++) {
            const float* flow = grid[i * level.columns + j].flow;
            float weight = weight_of(level.luma[direction], level.luma[1 - direction], i * STRIDE, j * STRIDE, y, x, flow);
            sums[0] += weight * flow[0];
            sums[1] += weight * flow[1];
            weights += weight;
        }
    }
    to[0] = sums[0] / weights;
    to[1] = sums[1] / weights;
}

KERNEL search_blend(Level level, Raster<float> forth, Raster<float> back) {
    int y = row(), x = column();
    if (forth.has(y, x)) blend(level, blockIdx.z, y, x, (blockIdx.z == 0 ? forth : back).at(y, x));
}
EXPORT(search_blend)

KERNEL __launch_bounds__(SINGLE_BLOCK, 1) search_level(Level level, Raster<float> forth, Raster<float> back) {
#pragma unroll 1
    for (int pass = 0; pass < PASSES; pass++) {
        make_pass(level, pass, 1);
        __syncthreads();
    }
#pragma unroll 1
    for (int direction = 0; direction < 2; direction++) {
#pragma unroll 1
        for (int at = (int)threadIdx.x; at < forth.height * forth.width; at += (int)blockDim.x) {
            int y = at / forth.width, x = at % forth.width;
            blend(level, direction, y, x, (direction == 0 ? forth : back).at(y, x));
        }
    }
}
EXPORT_COOPERATIVE(search_level)
