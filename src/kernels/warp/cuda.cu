// Features fetched from where the flow points to, as they are or at unit length.
//
// warp_f32, warp_f16: 8 threads a pixel, each every eighth channel, so that the channels of a pixel are read side by side; features
// and out are float or __half, what lies between is float.
//   Raster<const T> features              [h, w, c], c at most 64
//   Raster<const float> flow              [h, w, 2]: x and y in pixels
//   float epsilon                         of the unit length; negative: as they are
//   Raster<T> out                         [h, w, c]
// Grid: 128 x 2 threads over (h, 8 w).
//
// warp_wide, warp_wide_half, warp_wide_rounded (from float to __half): of any number of channels, as they are. A thread a value.
//   Raster<const T> features              [h, w, c]
//   Raster<const float> flow              [h, w, 2]
//   Raster<U> out                         [h, w, c]
// Grid: 32 x 8 threads over (h, w c).
// warp_eights: the same of __half, a thread eight channels; pixels of both lie at multiples of 16 bytes, c is a multiple of 8.
// Grid: 32 x 8 threads over (h, w c / 8).
//
// Limited by memory: of 16 channels of f32 a pixel reads 64 to 256 bytes (neighbours share theirs in the cache) and writes 64, with
// about 10 operations a channel: below 2 a byte.
#include "../cuda/half.cuh"

const int LANES = 8, MOST_CHANNELS = 64;

template <class T>
__device__ void warp(const Raster<const T>& features, const Raster<const float>& flow, float epsilon, const Raster<T>& out) {
    int x = column() / LANES, y = row(), lane = threadIdx.x % LANES;
    bool has = out.has(y, x);
    float values[MOST_CHANNELS / LANES];
    float square = 0.0f;
    if (has) {
        const float* by = flow.at(y, x);
        Taps ty = taps((float)y + by[1], features.height), tx = taps((float)x + by[0], features.width);
        const T *a = features.at(ty.first, tx.first), *b = features.at(ty.first, tx.second);
        const T *c = features.at(ty.second, tx.first), *d = features.at(ty.second, tx.second);
#pragma unroll
        for (int i = 0; i < MOST_CHANNELS / LANES; i++) {
            int at = i * LANES + lane;
            if (at >= features.channels) break;
            float upper = mix(read(a + at), read(b + at), tx.share), lower = mix(read(c + at), read(d + at), tx.share);
            values[i] = mix(upper, lower, ty.share);
            square += values[i] * values[i];
        }
    }
    // All of a warp come here, those beyond the picture, too.
    for (int by = LANES / 2; by > 0; by /= 2) square += __shfl_xor_sync(ALL, square, by);
    if (!has) return;
    float scale = epsilon < 0.0f ? 1.0f : 1.0f / sqrtf(square + epsilon);
    T* to = out.at(y, x);
#pragma unroll
    for (int i = 0; i < MOST_CHANNELS / LANES; i++) {
        int at = i * LANES + lane;
        if (at < features.channels) write(to + at, values[i] * scale);
    }
}

KERNEL warp_f32(Raster<const float> features, Raster<const float> flow, float epsilon, Raster<float> out) {
    warp(features, flow, epsilon, out);
}
EXPORT_COOPERATIVE(warp_f32)
KERNEL warp_f16(Raster<const __half> features, Raster<const float> flow, float epsilon, Raster<__half> out) {
    warp(features, flow, epsilon, out);
}
EXPORT_COOPERATIVE(warp_f16)

template <class T, class U>
__device__ void wide(const Raster<const T>& features, const Raster<const float>& flow, const Raster<U>& out) {
    int x = column() / out.channels, c = column() % out.channels, y = row();
    if (!out.has(y, x)) return;
    const float* by = flow.at(y, x);
    Taps ty = taps((float)y + by[1], features.height), tx = taps((float)x + by[0], features.width);
    float upper = mix(read(features.at(ty.first, tx.first) + c), read(features.at(ty.first, tx.second) + c), tx.share);
    float lower = mix(read(features.at(ty.second, tx.first) + c), read(features.at(ty.second, tx.second) + c), tx.share);
    write(out.at(y, x) + c, mix(upper, lower, ty.share));
}

KERNEL warp_wide(Raster<const float> features, Raster<const float> flow, Raster<float> out) { wide(features, flow, out); }
EXPORT(warp_wide)
KERNEL warp_wide_half(Raster<const __half> features, Raster<const float> flow, Raster<__half> out) { wide(features, flow, out); }
EXPORT(warp_wide_half)
KERNEL warp_wide_rounded(Raster<const float> features, Raster<const float> flow, Raster<__half> out) { wide(features, flow, out); }
EXPORT(warp_wide_rounded)

KERNEL warp_eights(Raster<const __half> features, Raster<const float> flow, Raster<__half> out) {
    const int N = 8;
    int groups = out.channels / N, x = column() / groups, c = column() % groups * N, y = row();
    if (!out.has(y, x)) return;
    const float* by = flow.at(y, x);
    Taps ty = taps((float)y + by[1], features.height), tx = taps((float)x + by[0], features.width);
    Run<float, N> a = read_run<N>(features.at(ty.first, tx.first) + c), b = read_run<N>(features.at(ty.first, tx.second) + c);
    Run<float, N> d = read_run<N>(features.at(ty.second, tx.first) + c), e = read_run<N>(features.at(ty.second, tx.second) + c);
#pragma unroll
    for (int i = 0; i < N; i++) {
        float upper = mix(a.values[i], b.values[i], tx.share), lower = mix(d.values[i], e.values[i], tx.share);
        a.values[i] = mix(upper, lower, ty.share);
    }
    write_run<N>(out.at(y, x) + c, a);
}
EXPORT(warp_eights)
