// Edges that stand still: `is_edge` of `reference.rs`.
#pragma once
#include "../cuda/common.cuh"

// How much both pictures rise from one sample to another.
__device__ inline int rise(int left_from, int left_to, int right_from, int right_to) {
    return min(max(left_to - left_from, 0), max(right_to - right_from, 0));
}

// Whether there is an edge of more than so many codes, in both pictures the same way, between a sample and its neighbour, one of the two being alike in both.
__device__ inline bool is_edge(int l, int r, int next_l, int next_r, int above, int alike) {
    int step = max(rise(l, next_l, r, next_r), rise(next_l, l, next_r, r));
    return step > above && (abs(l - r) < alike || abs(next_l - next_r) < alike);
}
