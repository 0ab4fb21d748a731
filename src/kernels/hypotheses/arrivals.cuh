// What arrives at a cell: arrivals.rs, constants and all.
#pragma once
#include "../luma/sample.cuh"
#include "../still/edge.cuh"
#include "motion.cuh"

const float APART = 0.7f, TRUST = 1.0f, FAR_CELLS = 1e5f, AGREEMENT = 128.0f;
const int WHOLE_SAMPLE = 16, CODE_STEPS = WHOLE_SAMPLE * WHOLE_SAMPLE * SAMPLES * SAMPLES;
const int BETTER = 3 * CODE_STEPS, SHARE = 7, SHARE_OF = 10;
const int EXPLAINED = 1, EXPLAINED_OF = 2, VARIED = 2 * CODE_STEPS;
const int STEP = 20, ALIKE = 6, LEAST_STANDING = 2;
const unsigned NO_ARRIVAL = 0xffffffffu, SOURCE_BITS = 24;

__device__ inline float squared(float2 v) { return v.x * v.x + v.y * v.y; }
__device__ inline float2 minus(float2 a, float2 b) { return {a.x - b.x, a.y - b.y}; }
__device__ inline float2 times(float t, float2 v) { return {t * v.x, t * v.y}; }

// What a cell moves by, the one way or the other, and the same from left to right.
__device__ inline float2 by_way(const Raster<const float>& found, int y, int x, int way) {
    const float* at = found.at(y, x) + 2 * way;
    return {at[0], at[1]};
}
__device__ inline float2 forth(float2 by, int way) { return way == 0 ? by : float2{-by.x, -by.y}; }

// From left to right, of a flow.
__device__ inline float2 motion_of(const float* flow) { return {flow[2] - flow[0], flow[3] - flow[1]}; }
__device__ inline bool is_apart(const Raster<const float>& chosen, int y, int x, float2 motion) {
    return squared(minus(motion_of(chosen.at(y, x)), motion)) > APART * APART;
}

// What tells of the motion of a cell's way that it arrives.
__device__ inline unsigned arrival_of(const Raster<const float>& found, int y, int x, int way, float2 by) {
    float2 back = sample(found, y, x, 2 - 2 * way, by.x, by.y);
    float error = sqrtf(squared({by.x + back.x, by.y + back.y}));
    unsigned source = 2 * (y * found.width + x) + way;
    return error <= TRUST ? (unsigned)(error * AGREEMENT) << SOURCE_BITS | source : NO_ARRIVAL;
}

// Takes the motion of a cell, of one way, to the cells around where it leads to at the phase.
__device__ inline void carry(const Raster<const float>& found, float t, const Raster<const float>& chosen, int y, int x, int way,
                             const Raster<unsigned>& out) {
    float2 by = by_way(found, y, x, way);
    float length = squared(by);
    if (!(length >= APART * APART && length <= FAR_CELLS * FAR_CELLS)) return;
    float share = way == 0 ? t : 1.0f - t;
    int top = (int)floorf((float)y + share * by.y), left = (int)floorf((float)x + share * by.x);
    float2 motion = forth(by, way);
    bool is_known = false;
    unsigned arrival = NO_ARRIVAL;
    for (int i = 0; i < 4; i++) {
        int to_y = top + i / 2, to_x = left + i % 2;
        if (!out.has(to_y, to_x) || !is_apart(chosen, to_y, to_x, motion)) continue;
        if (!is_known) arrival = arrival_of(found, y, x, way, by);
        is_known = true;
        atomicMin(out.at(to_y, to_x), arrival);
    }
}

// Where the first sample of a cell lies along an axis, moved by so many cells, in parts of a sample.
__device__ inline int moved_to(int cell, float by) {
    by = by != by ? 0.0f : fminf(fmaxf(by, -FAR_CELLS), FAR_CELLS) * (float)(SAMPLES * WHOLE_SAMPLE);
    return SAMPLES * WHOLE_SAMPLE * cell + (int)roundf(by);
}

// Between the samples that are there.
__device__ inline int part_at(const Raster<const Quad>& luma, int y, int x) {
    y = min(max(y, 0), (luma.height - 1) * WHOLE_SAMPLE);
    x = min(max(x, 0), (luma.width - 1) * WHOLE_SAMPLE);
    Quad quad = *luma.at(y / WHOLE_SAMPLE, x / WHOLE_SAMPLE);
    int down = y % WHOLE_SAMPLE, across = x % WHOLE_SAMPLE;
    int above = (WHOLE_SAMPLE - across) * (int)(quad & 255) + across * (int)(quad >> 8 & 255);
    int below = (WHOLE_SAMPLE - across) * (int)(quad >> 16 & 255) + across * (int)(quad >> 24);
    return (WHOLE_SAMPLE - down) * above + down * below;
}

// Sum of the differences of a cell's samples, moved, from their mean.
__device__ inline int variation_of(const Raster<const Quad>& luma, int y, int x, float2 by) {
    const int COUNT = SAMPLES * SAMPLES;
    int first_y = moved_to(y, by.y), first_x = moved_to(x, by.x), samples[COUNT], sum = 0;
    for (int i = 0; i < COUNT; i++) {
        samples[i] = part_at(luma, first_y + i / SAMPLES * WHOLE_SAMPLE, first_x + i % SAMPLES * WHOLE_SAMPLE);
        sum += samples[i];
    }
    int mean = sum / COUNT, apart = 0;
    for (int i = 0; i < COUNT; i++) apart += abs(samples[i] - mean);
    return apart;
}

// How far the samples of a cell are apart, in the left picture moved by `from`, in the right one by `to`.
__device__ inline int cost_of(const Raster<const Quad> luma[2], int y, int x, float2 from, float2 to) {
    int left_y = moved_to(y, from.y), left_x = moved_to(x, from.x), right_y = moved_to(y, to.y), right_x = moved_to(x, to.x), sum = 0;
    for (int i = 0; i < SAMPLES; i++) {
        for (int j = 0; j < SAMPLES; j++) {
            int down = i * WHOLE_SAMPLE, across = j * WHOLE_SAMPLE;
            sum += abs(part_at(luma[0], left_y + down, left_x + across) - part_at(luma[1], right_y + down, right_x + across));
        }
    }
    return sum;
}

__device__ inline bool is_explained(int cost, int varied, bool flat) {
    return varied > VARIED ? cost * EXPLAINED_OF < varied * EXPLAINED : flat;
}

// Whether a motion explains what the right picture shows where the thing is in the left one (bit 0), and the other way round (bit 1);
// `flat` where that varies by nothing to speak of.
__device__ inline int goes(const Raster<const Quad> luma[2], int y, int x, float2 from, float2 to, float2 motion, bool flat) {
    float2 before = minus(from, motion), after = {to.x + motion.x, to.y + motion.y};
    int right = is_explained(cost_of(luma, y, x, before, from), variation_of(luma[1], y, x, from), flat);
    return right | is_explained(cost_of(luma, y, x, to, after), variation_of(luma[0], y, x, to), flat) << 1;
}

__device__ inline bool explains(int along, int other) { return SHARE_OF * along < SHARE * other && along + BETTER < other; }

__device__ inline int code_of(Quad quad, int i) { return (int)(quad >> 8 * i & 255); }

// Whether edges around a cell stand still. A quad has a sample and those right of it and below; beyond the picture they are itself.
__device__ inline bool stands_still(const Raster<const Quad>& left, const Raster<const Quad>& right, int y, int x) {
    int bottom = min(SAMPLES * (y + 2), left.height), beyond = min(SAMPLES * (x + 2), left.width), edges = 0;
    for (int sy = max(SAMPLES * (y - 1), 0); sy < bottom; sy++) {
        for (int sx = max(SAMPLES * (x - 1), 0); sx < beyond; sx++) {
            Quad a = *left.at(sy, sx), b = *right.at(sy, sx);
            bool across = is_edge(code_of(a, 0), code_of(b, 0), code_of(a, 1), code_of(b, 1), STEP, ALIKE);
            edges += across || is_edge(code_of(a, 0), code_of(b, 0), code_of(a, 2), code_of(b, 2), STEP, ALIKE);
            if (edges >= LEAST_STANDING) return true;
        }
    }
    return false;
}

// Whether what has arrived is taken, and its flow.
__device__ inline bool is_taken(const Raster<const float>& found, float t, const Raster<const float>& chosen, const Raster<const Quad> luma[2],
                                int y, int x, unsigned arrival, float flow[4]) {
    if (arrival == NO_ARRIVAL) return false;
    int source = (int)(arrival & ((1u << SOURCE_BITS) - 1)), cell = source / 2, way = source % 2;
    float2 motion = forth(by_way(found, cell / found.width, cell % found.width, way), way);
    const float* here = chosen.at(y, x);
    float2 ground = motion_of(here), from = times(-t, motion), to = times(1.0f - t, motion);
    int along = cost_of(luma, y, x, from, to);
    if (!explains(along, cost_of(luma, y, x, from, {from.x + ground.x, from.y + ground.y}))) return false;
    if (!explains(along, cost_of(luma, y, x, minus(to, ground), to))) return false;
    bool stands = ground.x == 0.0f && ground.y == 0.0f && stands_still(luma[0], luma[1], y, x);
    bool is_better = !stands && along + BETTER < cost_of(luma, y, x, {here[0], here[1]}, {here[2], here[3]});
    if (!is_better && (goes(luma, y, x, from, to, motion, stands) != 0 || goes(luma, y, x, from, to, ground, false) == 3)) return false;
    flow[0] = from.x;
    flow[1] = from.y;
    flow[2] = to.x;
    flow[3] = to.y;
    return true;
}
