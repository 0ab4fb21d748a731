// Motion of cells, and what of an acceleration counts.
#pragma once
#include "../cuda/common.cuh"

const float MOST_ACCELERATION = 0.5f, LEAST_ACCELERATION = 0.25f, ROOT_EPSILON = 1e-6f;

// Two channels, from `first` on, at a cell moved by (dx, dy).
__device__ inline float2 sample(const Raster<const float>& values, int y, int x, int first, float dx, float dy) {
    Taps ty = taps((float)y + dy, values.height), tx = taps((float)x + dx, values.width);
    const float *a = values.at(ty.first, tx.first) + first, *b = values.at(ty.first, tx.second) + first;
    const float *c = values.at(ty.second, tx.first) + first, *d = values.at(ty.second, tx.second) + first;
    return {lerp(lerp(a[0], b[0], tx.share), lerp(c[0], d[0], tx.share), ty.share),
            lerp(lerp(a[1], b[1], tx.share), lerp(c[1], d[1], tx.share), ty.share)};
}

__device__ inline float length(float2 v) { return sqrtf(v.x * v.x + v.y * v.y + ROOT_EPSILON); }

// `hypotheses::limited`.
__device__ inline float2 limited(float2 acceleration, float2 motion) {
    float most = MOST_ACCELERATION * length(motion) + LEAST_ACCELERATION;
    float share = fminf(most / length(acceleration), 1.0f);
    return {acceleration.x * share, acceleration.y * share};
}
