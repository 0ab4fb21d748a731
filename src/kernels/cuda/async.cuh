// Copies to shared memory that are under way while a thread goes on, from 8.0 on; on older cards they are done at once.
#pragma once
#include "common.cuh"

// Of 16 bytes; of zeros unless `has`. `from` is some address of the card's memory even then.
__device__ inline void copy_async(uint4* to, const void* from, bool has) {
#ifndef __CUDACC__
    host::copy_async(to, from, has);
#elif __CUDA_ARCH__ >= 800
    unsigned at = (unsigned)__cvta_generic_to_shared(to);
    asm volatile("cp.async.ca.shared.global [%0], [%1], 16, %2;" : : "r"(at), "l"(from), "r"(has ? 16 : 0) : "memory");
#else
    *to = has ? *(const uint4*)from : uint4{0, 0, 0, 0};
#endif
}

// The same of what nobody on this multiprocessor reads again soon: it passes by the first cache.
__device__ inline void copy_past_async(uint4* to, const void* from, bool has) {
#ifndef __CUDACC__
    host::copy_async(to, from, has);
#elif __CUDA_ARCH__ >= 800
    unsigned at = (unsigned)__cvta_generic_to_shared(to);
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" : : "r"(at), "l"(from), "r"(has ? 16 : 0) : "memory");
#else
    *to = has ? *(const uint4*)from : uint4{0, 0, 0, 0};
#endif
}

// Ends a group of what this thread copies.
__device__ inline void commit_async() {
#ifndef __CUDACC__
    host::commit_async();
#elif __CUDA_ARCH__ >= 800
    asm volatile("cp.async.commit_group;" : : : "memory");
#endif
}

// Waits for all groups of this thread but the last N.
template <int N>
__device__ inline void wait_async() {
#ifndef __CUDACC__
    host::wait_async(N);
#elif __CUDA_ARCH__ >= 800
    asm volatile("cp.async.wait_group %0;" : : "n"(N) : "memory");
#endif
}
