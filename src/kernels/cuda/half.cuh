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
__device__ inline void write(__half* to, float value) { *to = __float2half_rn(saturated(value)); }

// Two numbers of 16 bits in a word, the first one in its lower half.
__device__ inline unsigned pack(float first, float second) {
    __half2 both = __floats2half2_rn(saturated(first), saturated(second));
    unsigned word;
    memcpy(&word, &both, sizeof word);
    return word;
}
__device__ inline float2 unpack(unsigned word) {
    __half2 both;
    memcpy(&both, &word, sizeof word);
    return __half22float2(both);
}
