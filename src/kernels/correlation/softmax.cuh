// `correlation::reference::softmax_mean` by four threads.
#pragma once
#include "../cuda/common.cuh"

const int RADIUS = 2, SIDE = 2 * RADIUS + 1, DISPLACEMENTS = SIDE * SIDE;
// Threads that share the scores of a pixel, side by side, and most scores of one: the first one has displacements 0, 4, 8 and so on.
const int LANES = 4, EACH = (DISPLACEMENTS + LANES - 1) / LANES;

__device__ inline int lane_of_pixel() { return (int)threadIdx.x % LANES; }

// All four get the sum.
__device__ inline float pixel_sum(float value) {
    value += __shfl_xor_sync(ALL, value, 1);
    return value + __shfl_xor_sync(ALL, value, 2);
}
__device__ inline float pixel_max(float value) {
    value = fmaxf(value, __shfl_xor_sync(ALL, value, 1));
    return fmaxf(value, __shfl_xor_sync(ALL, value, 2));
}

// The mean displacement (x, y) under the softmax of sharpness * scores, for all four; all threads of a warp come here.
__device__ inline float2 softmax_mean(const float scores[EACH], float sharpness) {
    float top = -INFINITY, total = 0.0f, dx = 0.0f, dy = 0.0f;
#pragma unroll
    for (int i = 0, d = lane_of_pixel(); i < EACH; i++, d += LANES)
        if (d < DISPLACEMENTS) top = fmaxf(top, scores[i] * sharpness);
    top = pixel_max(top);
#pragma unroll
    for (int i = 0, d = lane_of_pixel(); i < EACH; i++, d += LANES) {
        if (d >= DISPLACEMENTS) continue;
        float p = expf(scores[i] * sharpness - top);
        total += p;
        dx += p * (float)(d % SIDE - RADIUS);
        dy += p * (float)(d / SIDE - RADIUS);
    }
    total = pixel_sum(total);
    return {pixel_sum(dx) / total, pixel_sum(dy) / total};
}

// `Axis::new`: what to subtract on the left, and to add on the right, for step i of an axis at phase t.
__device__ inline int2 split(int i, float t) {
    t = t > 0.0f ? fminf(t, 1.0f) : 0.0f;
    int d = i - RADIUS, left = (int)floorf(t * (float)d + 0.5f);
    return {left, d - left};
}
