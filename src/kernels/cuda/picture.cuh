// Pictures in their own formats: `DevicePicture` in picture.rs.
#pragma once
#include "common.cuh"

// A component's samples in a plane; those of 16 bits lie at even addresses.
struct Component {
    u8* data;
    // Bytes from a row to the next.
    long long stride;
    // Bytes from a sample to the next, and of one (1 or 2).
    int step, size;
    // Subsampling, log2.
    int sub_x, sub_y;
    // Bits below the code, and the largest code.
    int shift, max;

    __device__ u8* at(int y, int x) const { return data + (y * stride + (long long)x * step); }
    __device__ int load(int y, int x) const {
        const u8* from = at(y, x);
        return size == 1 ? *from : *(const u16*)from >> shift;
    }
    __device__ void store(int y, int x, int code) const {
        u8* to = at(y, x);
        if (size == 1)
            *to = (u8)code;
        else
            *(u16*)to = (u16)(code << shift);
    }
    // Samples of a row, and rows, of a picture so wide and high.
    __device__ int width(int pixels) const { return (pixels + (1 << sub_x) - 1) >> sub_x; }
    __device__ int height(int pixels) const { return (pixels + (1 << sub_y) - 1) >> sub_y; }
};

// The components in the order of the format.
struct Picture {
    Component components[4];
    int count, width, height;
};
