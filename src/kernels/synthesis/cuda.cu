// One picture from two, in the planes and the depth of the stream. Bits are those of `reference.rs`: all in whole numbers but the last
// step of more than eight bits.
//
// synthesis_copy: a thread a byte; for planes that have bytes of no component, before all else.
//   Component left, out                   a plane's bytes as samples
//   int bytes, rows                       of a row, and how many
// synthesise: a thread four samples of a group, side by side: components whose samples lie side by side in one plane.
//   Groups groups                         by the grid's z: of each picture the group's components alone, and the bytes from the start of a
//                                         row to the first of them
//   int cell                              pixels of a cell of flow and mask along a side: 4 or 1
//   Raster<const float> flow, mask        [h, w, 4] and [h, w, 1]
// Grids: 128 x 2 threads over the bytes; 32 x 8 threads over fours of samples of the largest group.
//
// Planes are read and written where they lie, whatever their steps: nothing is repacked. The threads of sixteen bytes vote whether
// they stand still. A warp reads 4 rows of both pictures near each other, mostly from the cache: of 8 bits a sample moves 3 bytes,
// for some 170 operations (flow and mask of a column of cells to fixed point once for the samples beside it): arithmetic limits.
#include "../cuda/picture.cuh"
#include "../moved/moved.cuh"

const int STATIC_FLOW = 1 << (FLOW_BITS - 1), SEGMENT = 16, VALUES = 5, SAMPLES = 4;

KERNEL synthesis_copy(Component left, Component out, int bytes, int rows) {
    int x = column(), y = row();
    if (x < bytes && y < rows) *out.at(y, x) = *left.at(y, x);
}
EXPORT(synthesis_copy)

__device__ int weight(float value) { return rounded((value > 0.0f ? fminf(value, 1.0f) : 0.0f) * (float)WHOLE); }

// The luma pixels from which the flows of a sample's tile count.
__device__ void bases_of(const Raster<const float>& flow, int cell, const Component& c, const Picture& out, int y, int x, int base[4]) {
    int my = middle_of(y << c.sub_y, BAND_BITS, out.height), mx = middle_of(x << c.sub_x, TILE_BITS, out.width);
    const float* middle = flow.at(my / cell, mx / cell);
    for (int i = 0; i < 4; i++) base[i] = base_of(middle[i]);
}

// Flow and weight, on a row, in a column of cells: x and y to the left, x and y to the right, from the base on; the left one's weight.
__device__ void column_of(const Raster<const float>& flow, const Raster<const float>& mask, const Between& py, int cx, const int base[4],
                          int values[VALUES]) {
    int y0 = inside(py.first, flow.height), y1 = inside(py.first + 1, flow.height);
    cx = inside(cx, flow.width);
    const float *above = flow.at(y0, cx), *below = flow.at(y1, cx);
    for (int k = 0; k < 4; k++) values[k] = between(steps(above[k], base[k]), steps(below[k], base[k]), py.eighths);
    values[4] = between(weight(*mask.at(y0, cx)), weight(*mask.at(y1, cx)), py.eighths);
}

// The same of so many samples from x on, between the columns of cells.
__device__ void sources_of(const Raster<const float>& flow, const Raster<const float>& mask, const Component& c, int y, int x, int count,
                           const int base[4], int sources[SAMPLES][VALUES]) {
    Between py = place_of(y, c.sub_y);
    int column = place_of(x, c.sub_x).first, left[VALUES], right[VALUES];
    column_of(flow, mask, py, column, base, left);
    column_of(flow, mask, py, column + 1, base, right);
#pragma unroll
    for (int i = 0; i < SAMPLES; i++) {
        Between px = place_of(x + i, c.sub_x);
        if (i < count && px.first > column) {
            column++;
            for (int k = 0; k < VALUES; k++) left[k] = right[k];
            column_of(flow, mask, py, column + 1, base, right);
        }
        for (int k = 0; k < VALUES; k++) sources[i][k] = between(left[k], right[k], px.eighths);
    }
}

// The same from flow and mask on the pixels: the mean of those that a sample covers.
__device__ void source_of_pixels(const Raster<const float>& flow, const Raster<const float>& mask, const Component& c, int y, int x,
                                 const int base[4], int source[VALUES]) {
    float sum[4] = {0.0f, 0.0f, 0.0f, 0.0f}, all = 0.0f, share = 1.0f / (float)(1 << (c.sub_x + c.sub_y));
    for (int py = y << c.sub_y; py < (y + 1) << c.sub_y; py++) {
        for (int px = x << c.sub_x; px < (x + 1) << c.sub_x; px++) {
            int iy = min(py, flow.height - 1), ix = min(px, flow.width - 1);
            for (int k = 0; k < 4; k++) sum[k] += flow.at(iy, ix)[k];
            all += *mask.at(iy, ix);
        }
    }
    for (int k = 0; k < 4; k++) source[k] = steps(sum[k] * share, base[k]);
    source[4] = weight(all * share);
}

// The codes above and below, left and right, of a place.
__device__ void codes_of(const Component& c, const Neighbours& py, const Neighbours& px, int codes[4]) {
    codes[0] = c.load(py.first, px.first);
    codes[1] = c.load(py.first, px.second);
    codes[2] = c.load(py.second, px.first);
    codes[3] = c.load(py.second, px.second);
}

__device__ int blend_of_eight_bits(int left, int right, int weight) {
    weight = min(2 * weight, 32767);
    int value = right + ((weight * (left - right) + (1 << 14)) >> 15);
    int even = (value >> PLACE_BITS) & 1;
    return (value + PLACES / 2 - 1 + even) >> PLACE_BITS;
}

const int MIDDLE = 1 << 15;

__device__ float side_of_more_bits(const int codes[4], int tx, int ty) {
    float above = (float)(PLACES * (codes[0] - MIDDLE) + tx * (codes[1] - codes[0]));
    float below = (float)(PLACES * (codes[2] - MIDDLE) + tx * (codes[3] - codes[2]));
    return lerp(above, below, (float)ty / (float)PLACES);
}

__device__ int blend_of_more_bits(float left, float right, int weight) {
    float value = lerp(right, left, (float)weight / (float)WHOLE);
    return (int)rintf(value / (float)PLACES) + MIDDLE;
}

// Whether the bytes of a sample, those of other components between them included, are the same in both pictures.
__device__ bool same_bytes(const Component& left, const Component& right, int offset, int y, int x) {
    const u8 *a = left.at(y, x) - offset, *b = right.at(y, x) - offset;
    bool same = true;
    for (int i = 0; i < left.step; i++) same &= a[i] == b[i];
    return same;
}

// Which of a thread's samples, a bit each, lie in a segment all of whose samples stand still; all threads of a warp ask.
__device__ unsigned standing(unsigned still, int step) {
    const unsigned all = (1u << SAMPLES) - 1;
    int length = step <= 1 ? SEGMENT : step <= 2 ? SEGMENT / 2 : step <= 4 ? SEGMENT / 4 : SEGMENT / 8;
    unsigned votes = __ballot_sync(ALL, still == all);
    if (length < SAMPLES) return (still & still >> 1 & 5u) * 3u;
    int threads = length / SAMPLES;
    votes >>= threadIdx.x % WARP / threads * threads;
    unsigned segment = (1u << threads) - 1;
    return (votes & segment) == segment ? all : 0;
}

__device__ void make_sample(const Picture& left, const Picture& right, const Picture& out, int y, int x, const int base[4],
                            const int source[VALUES]) {
    const Component& first = out.components[0];
    int width = first.width(out.width), height = first.height(out.height);
    Neighbours px[2], py[2];
    for (int side = 0; side < 2; side++) {
        int fx = base[2 * side] * (1 << FLOW_BITS) + source[2 * side];
        int fy = base[2 * side + 1] * (1 << FLOW_BITS) + source[2 * side + 1];
        px[side] = neighbours_of(x, width, fx, first.sub_x);
        py[side] = neighbours_of(y, height, fy, first.sub_y);
    }
    for (int i = 0; i < out.count; i++) {
        int l[4], r[4], code;
        codes_of(left.components[i], py[0], px[0], l);
        codes_of(right.components[i], py[1], px[1], r);
        if (out.components[i].size == 1)
            code = blend_of_eight_bits(side_of_eight_bits(l, px[0].share, py[0].share),
                                       side_of_eight_bits(r, px[1].share, py[1].share), source[4]);
        else
            code = blend_of_more_bits(side_of_more_bits(l, px[0].share, py[0].share),
                                      side_of_more_bits(r, px[1].share, py[1].share), source[4]);
        out.components[i].store(y, x, min(code, out.components[i].max));
    }
}

// With the bits that no code uses.
__device__ void copy_sample(const Picture& left, const Picture& out, int y, int x) {
    for (int i = 0; i < out.count; i++) {
        const u8* from = left.components[i].at(y, x);
        u8* to = out.components[i].at(y, x);
        to[0] = from[0];
        if (out.components[i].size == 2) to[1] = from[1];
    }
}

struct Group {
    Picture left, right, out;
    int offset;
};
struct Groups {
    Group all[4];
};

KERNEL synthesise(const __grid_constant__ Groups groups, int cell, Raster<const float> flow, Raster<const float> mask) {
    const Group& group = groups.all[blockIdx.z];
    const Picture &left = group.left, &right = group.right, &out = group.out;
    int x = SAMPLES * column(), y = row();
    const Component& first = out.components[0];
    // The same for all of a warp, which lies along a row.
    if (y >= first.height(out.height)) return;
    int count = min(max(first.width(out.width) - x, 0), SAMPLES);
    unsigned still = 0;
    int base[4], sources[SAMPLES][VALUES];
    if (count > 0) {
        // Of all four: a tile has more pixels than they.
        bases_of(flow, cell, first, out, y, x, base);
        if (cell == CELL) sources_of(flow, mask, first, y, x, count, base, sources);
    }
#pragma unroll
    for (int i = 0; i < SAMPLES; i++) {
        bool rests = true;
        if (i < count) {
            if (cell != CELL) source_of_pixels(flow, mask, first, y, x + i, base, sources[i]);
            for (int k = 0; k < 4; k++) rests &= base[k] == 0 && abs(sources[i][k]) < STATIC_FLOW;
            rests = rests && same_bytes(left.components[0], right.components[0], group.offset, y, x + i);
        }
        still |= (unsigned)rests << i;
    }
    still = standing(still, first.step);
#pragma unroll
    for (int i = 0; i < SAMPLES; i++) {
        if (i >= count) continue;
        if (still >> i & 1)
            copy_sample(left, out, y, x + i);
        else
            make_sample(left, right, out, y, x + i, base, sources[i]);
    }
}
EXPORT_COOPERATIVE(synthesise)
