// Products of small matrices of __half on tensor cores, with sums in float; all 32 threads of a warp take part.
#pragma once
#include "half.cuh"

// d += a b: `a` is 16 x 16, `b` 16 x 8, `d` 16 x 8. A thread has parts of each as the PTX ISA lays them out for mma.m16n8k16 with .f16
// (in words, `pack`ed). With g = lane / 4 and t = lane % 4:
//   a     (g, 2t) (g + 8, 2t) (g, 2t + 8) (g + 8, 2t + 8), each with its right neighbour
//   b     (2t, g) (2t + 8, g), each with its lower neighbour
//   d     (g, 2t) (g, 2t + 1) (g + 8, 2t) (g + 8, 2t + 1)
// Cards of 7.5 do it in two halves of 8, of which each has the same layout.
__device__ inline void mma(float (&d)[4], const unsigned (&a)[4], uint2 b) {
#ifndef __CUDACC__
    host::mma(d, a, b);
#elif __CUDA_ARCH__ >= 800
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
                 : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b.x), "r"(b.y));
#else
    asm volatile("mma.sync.aligned.m16n8k8.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5}, {%6}, {%0, %1, %2, %3};"
                 : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
                 : "r"(a[0]), "r"(a[1]), "r"(b.x));
    asm volatile("mma.sync.aligned.m16n8k8.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5}, {%6}, {%0, %1, %2, %3};"
                 : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
                 : "r"(a[2]), "r"(a[3]), "r"(b.y));
#endif
}

// `a` of 16 rows in shared memory that lie `apart` words apart, a multiple of 4; the first one at a multiple of 16 bytes.
__device__ inline void load(unsigned (&a)[4], const unsigned* rows, int apart) {
    int lane = (int)threadIdx.x % 32;
#ifdef __CUDACC__
    unsigned at = (unsigned)__cvta_generic_to_shared(rows + lane % 16 * apart + lane / 16 * 4);
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(a[0]), "=r"(a[1]), "=r"(a[2]), "=r"(a[3])
                 : "r"(at)
                 : "memory");
#else
    for (int i = 0; i < 4; i++) a[i] = rows[(lane / 4 + i % 2 * 8) * apart + lane % 4 + i / 2 * 4];
#endif
}

// 16 bytes to shared memory in one store.
__device__ inline void put(uint4* to, uint4 value) {
#ifdef __CUDACC__
    asm volatile("st.shared.v4.u32 [%0], {%1, %2, %3, %4};" ::"r"((unsigned)__cvta_generic_to_shared(to)),
                 "r"(value.x), "r"(value.y), "r"(value.z), "r"(value.w)
                 : "memory");
#else
    *to = value;
#endif
}
