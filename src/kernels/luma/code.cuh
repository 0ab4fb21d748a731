// Luma in bytes.
#pragma once
#include "../cuda/common.cuh"

const float MAX_CODE = 255.0f;

// `luma::reference::code`: of -0.5 to 0.5, rounded; what is no number becomes 0.
__device__ inline u8 code_of(float value) {
    value = value * MAX_CODE + (0.5f * MAX_CODE + 0.5f);
    return value > 0.0f ? (u8)min((int)fminf(value, 256.0f), 255) : 0;
}

// `luma::gather` of one cell: its four values to bytes, and their mean. Rasters without data are left out.
__device__ inline void gather(const float* cell, int y, int x, const Raster<u8>& whole, const Raster<u8>& half) {
    if (!whole.data) return;
    int sum = 0;
    for (int i = 0; i < 4; i++) {
        u8 code = code_of(cell[i]);
        *whole.at(2 * y + i / 2, 2 * x + i % 2) = code;
        sum += code;
    }
    *half.at(y, x) = (u8)((sum + 2) / 4);
}
