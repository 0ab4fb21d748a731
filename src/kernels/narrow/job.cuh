// What a convolution of few channels is told, see conv/narrow.rs.
#pragma once
#include "../cuda/half.cuh"

const int MOST_PARTS = 6;
const float SLOPE = 0.1f;

// A tensor as `Raster` has it, of __half if `half` is not 0.
struct Part {
    void* data;
    int channels, pixel, row, half;

    __device__ long long at(int y, int x) const { return (long long)y * row + (long long)x * pixel; }
    __device__ float load(int y, int x, int c) const {
        long long i = at(y, x) + c;
        return half ? read((const __half*)data + i) : read((const float*)data + i);
    }
    __device__ void store(int y, int x, int c, float value) const {
        long long i = at(y, x) + c;
        half ? write((__half*)data + i, value) : write((float*)data + i, value);
    }
    // Whether `count` channels side by side, from a multiple of it on, are one value of memory.
    __device__ bool joins(int count) const {
        return (size_t)data % (count * (half ? 2 : 4)) == 0 && pixel % count == 0 && row % count == 0;
    }
    // Channel `c`, which is even, and the next one if there are `both`.
    __device__ float2 load(int y, int x, int c, bool both) const {
        long long i = at(y, x) + c;
        if (both && joins(2)) return half ? unpack(*(const unsigned*)((const __half*)data + i)) : *(const float2*)((const float*)data + i);
        return {load(y, x, c), both ? load(y, x, c + 1) : 0.0f};
    }
    __device__ void store(int y, int x, int c, float2 value, bool both) const {
        long long i = at(y, x) + c;
        if (both && joins(2)) {
            if (half) *(unsigned*)((__half*)data + i) = pack(value.x, value.y);
            else *(float2*)((float*)data + i) = value;
        } else {
            store(y, x, c, value.x);
            if (both) store(y, x, c + 1, value.y);
        }
    }
};

// N values from index `at` of the part's on, which are aligned as `Run`s are.
template <int N>
__device__ inline void load_run(const Part& part, long long at, float (&values)[N]) {
    if (part.half) {
        Run<unsigned, N / 2> run = *(const Run<unsigned, N / 2>*)((const __half*)part.data + at);
        for (int i = 0; i < N / 2; i++) {
            float2 both = unpack(run.values[i]);
            values[2 * i] = both.x;
            values[2 * i + 1] = both.y;
        }
    } else {
        Run<float, N> run = *(const Run<float, N>*)((const float*)part.data + at);
        for (int i = 0; i < N; i++) values[i] = run.values[i];
    }
}
template <int N>
__device__ inline void store_run(const Part& part, long long at, const float (&values)[N]) {
    if (part.half) {
        Run<unsigned, N / 2> run;
        for (int i = 0; i < N / 2; i++) run.values[i] = pack(values[2 * i], values[2 * i + 1]);
        *(Run<unsigned, N / 2>*)((__half*)part.data + at) = run;
    } else {
        Run<float, N> run;
        for (int i = 0; i < N; i++) run.values[i] = values[i];
        *(Run<float, N>*)((float*)part.data + at) = run;
    }
}

struct Job {
    Part parts[MOST_PARTS];
    // Null where there is none.
    Part residual;
    Part out;
    // As the kernel wants them, of `padded` outputs; then bias and slopes, floats, as many each.
    const void* weight;
    int count, inputs, outputs, padded;
    // Of the input, and of the output.
    int height, width, out_height, out_width;
    // Whether the input is activated as it is read, and the output.
    int reading, leaky;
    // A bit for each part whose rows can be read by 16 bytes, from the lowest on; of each part, (1 << PIXEL_BITS) / pixel, rounded up.
    int pieces;
    unsigned pixels[MOST_PARTS];
};
const int PIXEL_BITS = 20;
