// Features of 32 or 16 bits. What is computed with them has 32.
#pragma once
#ifdef __CUDACC__
#include <cuda_fp16.h>
#endif
#include "common.cuh"

__device__ inline float read(const float* from) { return *from; }
__device__ inline float read(const __half* from) { return __half2float(*from); }
__device__ inline void write(float* to, float value) { *to = value; }
__device__ inline void write(__half* to, float value) { *to = __float2half_rn(value); }
