// What the kernels of all `cuda.cu` share. The same sources compile as host C++ for the tests, see host.hpp.
//
// Results are those of each `reference.rs`, rounding included: compile with `--fmad=false` (a fused multiply-add is written
// `fmaf`), and with nvcc's defaults of exact division and square root.
#pragma once

#ifdef __CUDACC__
#define KERNEL extern "C" __global__ void
// Names a kernel to the emulation: one whose threads never wait for each other, and one whose threads do.
#define EXPORT(name)
#define EXPORT_COOPERATIVE(name)
#define CHECK(condition)
#else
#include "host.hpp"
#endif

typedef unsigned char u8;
typedef unsigned short u16;
typedef short i16;

// A tensor of [height, width, channels], channels side by side: `DeviceRaster` in mod.rs. `data` is null where there is none.
template <class T>
struct Raster {
    T* data;
    int height, width, channels;
    // Values from a pixel to its right neighbour, and from a row to the next.
    int pixel, row;

    __device__ T* at(int y, int x) const {
        CHECK(y >= 0 && y < height && x >= 0 && x < width);
        return data + ((long long)y * row + (long long)x * pixel);
    }
    __device__ bool has(int y, int x) const { return y >= 0 && y < height && x >= 0 && x < width; }
};

// The pixel of this thread where blocks lie over a plane.
__device__ inline int column() { return (int)(blockIdx.x * blockDim.x + threadIdx.x); }
__device__ inline int row() { return (int)(blockIdx.y * blockDim.y + threadIdx.y); }

__device__ inline int inside(int i, int size) { return min(max(i, 0), size - 1); }

// With two roundings, exactly `a` where `t` is 0.
__device__ inline float lerp(float a, float b, float t) { return a + t * (b - a); }
// Of `warp::reference`, with three.
__device__ inline float mix(float a, float b, float t) { return a * (1.0f - t) + b * t; }

// Two neighbours along an axis, and the share of the second one.
struct Taps {
    int first, second;
    float share;
};

// `warp::Taps::new`: what is no number counts as 0.
__device__ inline Taps taps(float position, int size) {
    int last = size - 1;
    position = fminf(fmaxf(position, 0.0f), (float)last);
    int first = min((int)position, last);
    return {first, min(first + 1, last), position - (float)first};
}

// `resample::between`.
__device__ inline Taps between(int i, float scale, int cells) {
    float at = fmaxf(((float)i + 0.5f) / scale - 0.5f, 0.0f);
    int first = min((int)at, cells - 1);
    return {first, min(first + 1, cells - 1), at - (float)first};
}

// `resample::neighbours`: the nearer, and the further, of a doubling.
__device__ inline Taps neighbours(int i, int size) {
    int near = i / 2;
    return {near, i % 2 == 0 ? max(near - 1, 0) : min(near + 1, size - 1), 0.25f};
}

// `change::mean_around`: of one channel of 3x3 values, the edge repeated.
__device__ inline float mean_around(const Raster<const float>& values, int y, int x) {
    float sum = 0.0f;
    for (int dy = -1; dy <= 1; dy++)
        for (int dx = -1; dx <= 1; dx++) sum += *values.at(inside(y + dy, values.height), inside(x + dx, values.width));
    return sum / 9.0f;
}

__device__ inline float sigmoid(float x) { return 1.0f / (1.0f + expf(-x)); }

const unsigned WARP = 32;
const unsigned ALL = 0xffffffffu;

// All 32 threads of a warp get the sum; its order is that of a tree.
__device__ inline float warp_sum(float value) {
    for (int by = 16; by > 0; by /= 2) value += __shfl_xor_sync(ALL, value, by);
    return value;
}
__device__ inline float warp_max(float value) {
    for (int by = 16; by > 0; by /= 2) value = fmaxf(value, __shfl_xor_sync(ALL, value, by));
    return value;
}

// A phase for all, or a plane of them: `DevicePhase` in mod.rs.
struct Phases {
    Raster<const float> plane;
    float uniform;

    __device__ float at(int y, int x) const { return plane.data ? *plane.at(y, x) : uniform; }
};
