// Luma in bytes moved by a flow of the cells.
#pragma once
#include "../cuda/common.cuh"

const int SAMPLES = 4, BORDER = 2;
const float STEPS = 16.0f, ACROSS = 128.0f, DOWN = 32768.0f;

// A sum of the steps of a cell's samples as a mean of luma of range 1.
__device__ inline float mean_of_cell(unsigned sum) { return (float)sum * (1.0f / ((float)(SAMPLES * SAMPLES) * STEPS * 255.0f)); }

// Component c of the flow at sample (y, x), `scale` times of it, enlarged bilinearly.
__device__ inline float moved(const Raster<const float>& flow, const Taps& ty, const Taps& tx, int c, float scale) {
    float left = scale * lerp(flow.at(ty.first, tx.first)[c], flow.at(ty.second, tx.first)[c], ty.share);
    float right = scale * lerp(flow.at(ty.first, tx.second)[c], flow.at(ty.second, tx.second)[c], ty.share);
    return lerp(left, right, tx.share);
}

// `luma::reference::sample` of the flow's channels `first` and `first + 1`; (y, x) lies in the cells of the flow.
__device__ inline int moved_sample(const Raster<const u8>& luma, const Raster<const float>& flow, int first, float scale, int y,
                                   int x) {
    Taps fy = between(y, (float)SAMPLES, flow.height), fx = between(x, (float)SAMPLES, flow.width);
    Taps tx = taps((float)x + moved(flow, fy, fx, first, scale), luma.width);
    Taps ty = taps((float)y + moved(flow, fy, fx, first + 1, scale), luma.height);
    int share = (int)rintf(tx.share * ACROSS);
    const u8 *upper = luma.at(ty.first, 0), *lower = luma.at(ty.second, 0);
    int a = tx.first * luma.pixel, b = tx.second * luma.pixel;
    int above = ((int)upper[a] - 128) * (128 - share) + ((int)upper[b] - 128) * share;
    int below = ((int)lower[a] - 128) * (128 - share) + ((int)lower[b] - 128) * share;
    share = min((int)rintf(ty.share * DOWN), 32767);
    int mixed = above + (((below - above) * share + (1 << 14)) >> 15);
    return (mixed + 4) >> 3;
}
