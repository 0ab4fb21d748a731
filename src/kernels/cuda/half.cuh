// Features of 32 or 16 bits. What is computed with them has 32.
#pragma once
#ifdef __CUDACC__
#include <cuda_fp16.h>
#endif
#include "common.cuh"

// Largest number of 16 bits. What is larger becomes it, and no infinity that would spoil all that is computed from it; what is no number
// stays so, that it shows.
const float MOST_HALF = 65504.0f;

__device__ inline float saturated(float value) {
    return value > MOST_HALF ? MOST_HALF : value < -MOST_HALF ? -MOST_HALF : value;
}

__device__ inline float read(const float* from) { return *from; }
__device__ inline float read(const __half* from) { return __half2float(*from); }
__device__ inline void write(float* to, float value) { *to = value; }

// Two numbers of 16 bits in a word, the first one in its lower half.
__device__ inline unsigned pack(float first, float second) {
    unsigned word;
#if defined(__CUDACC__) && __CUDA_ARCH__ >= 800
    asm("cvt.rn.satfinite.f16x2.f32 %0, %1, %2;" : "=r"(word) : "f"(second), "f"(first));
#else
    __half2 both = __floats2half2_rn(saturated(first), saturated(second));
    memcpy(&word, &both, sizeof word);
#endif
    return word;
}
__device__ inline void write(__half* to, float value) {
    u16 lower = (u16)pack(value, 0.0f);
    memcpy(to, &lower, sizeof lower);
}
__device__ inline float2 unpack(unsigned word) {
    __half2 both;
    memcpy(&both, &word, sizeof word);
    return __half22float2(both);
}

// N numbers that are read and written at once; they lie as 16 bytes, or all of them, do.
template <class T, int N>
struct alignas(N * sizeof(T) < 16 ? N * sizeof(T) : 16) Run {
    T values[N];
};

// N numbers from `from` on, at once where they are aligned.
template <int N>
__device__ inline Run<float, N> read_run(const float* from) {
    if ((size_t)from % alignof(Run<float, N>) == 0) return *(const Run<float, N>*)from;
    Run<float, N> run;
    for (int i = 0; i < N; i++) run.values[i] = from[i];
    return run;
}
template <int N>
__device__ inline Run<float, N> read_run(const __half* from) {
    typedef Run<unsigned, N / 2> Words;
    Run<float, N> run;
    if ((size_t)from % alignof(Words) == 0) {
        Words words = *(const Words*)from;
        for (int i = 0; i < N / 2; i++) {
            float2 both = unpack(words.values[i]);
            run.values[2 * i] = both.x;
            run.values[2 * i + 1] = both.y;
        }
    } else {
        for (int i = 0; i < N; i++) run.values[i] = read(from + i);
    }
    return run;
}
template <int N>
__device__ inline void write_run(float* to, const Run<float, N>& run) {
    if ((size_t)to % alignof(Run<float, N>) == 0) {
        *(Run<float, N>*)to = run;
    } else {
        for (int i = 0; i < N; i++) to[i] = run.values[i];
    }
}
template <int N>
__device__ inline void write_run(__half* to, const Run<float, N>& run) {
    typedef Run<unsigned, N / 2> Words;
    if ((size_t)to % alignof(Words) == 0) {
        Words words;
        for (int i = 0; i < N / 2; i++) words.values[i] = pack(run.values[2 * i], run.values[2 * i + 1]);
        *(Words*)to = words;
    } else {
        for (int i = 0; i < N; i++) write(to + i, run.values[i]);
    }
}
