// `correlation::reference::softmax_mean` by a warp.
#pragma once
#include "../cuda/common.cuh"

const int RADIUS = 2, SIDE = 2 * RADIUS + 1, DISPLACEMENTS = SIDE * SIDE;

// The mean displacement (x, y) under the softmax of sharpness * scores: thread d has the score of displacement d, all get the answer.
__device__ inline float2 softmax_mean(float score, float sharpness) {
    int d = threadIdx.x % WARP;
    bool is = d < DISPLACEMENTS;
    float scaled = score * sharpness;
    float top = warp_max(is ? scaled : -INFINITY);
    float p = is ? expf(scaled - top) : 0.0f;
    float total = warp_sum(p), dx = warp_sum(p * (float)(d % SIDE - RADIUS)), dy = warp_sum(p * (float)(d / SIDE - RADIUS));
    return {dx / total, dy / total};
}

// `Axis::new`: what to subtract on the left, and to add on the right, for step i of an axis at phase t.
__device__ inline int2 split(int i, float t) {
    t = t > 0.0f ? fminf(t, 1.0f) : 0.0f;
    int d = i - RADIUS, left = (int)floorf(t * (float)d + 0.5f);
    return {left, d - left};
}
