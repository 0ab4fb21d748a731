// Colours of a picture, and differences of colours brought into its planes.
//
// color_to_rgb: a thread a pixel.
//   Picture picture                       all components, in their own planes
//   Codes codes                           what their codes stand for
//   Raster<float> out                     [h, w, 3] of the picture; of __half: color_to_rgb_half
// Grid: 32 x 8 threads over (h, w). Limited by memory: of 4:2:0 in 8 bits a pixel reads 1.5 bytes, its chroma from the cache, and
// writes 12.
//
// color_add: a thread a sample of a component; of components in one plane one is done after the other, as the later ones look at what
// the former wrote.
//   Component left, right, out            the component in both source pictures, and in the one that is changed
//   Residual residual                     what is added
//   int bytes, offset                     of a row of the plane, and from its start to the first sample
// Grid: 128 x 2 threads over the samples. The threads of eight samples vote whether all is the same. Limited by memory: a pixel of
// 4:4:4 reads 12 bytes of the residual for each component, and two bytes or four of each picture.
#include "../cuda/half.cuh"
#include "../cuda/picture.cuh"

// `Colors` in cuda.rs: kind is 0 for grey, 1 for YUV, 2 for RGB; of each component the code of 0, and values a code.
struct Codes {
    int kind;
    float zero[3], step[3];
    float red_of_v, green_of_u, green_of_v, blue_of_u;

    __device__ float value(int i, float code) const { return (code - zero[i]) * step[i]; }
};

// The samples along an axis that a pixel lies between.
__device__ Taps along(int i, int sub, int samples) {
    if (sub == 0) return {i, i, 0.0f};
    return between(i, (float)(1 << sub), samples);
}

__device__ float enlarged(const Picture& picture, const Component& c, int y, int x) {
    Taps ty = along(y, c.sub_y, c.height(picture.height)), tx = along(x, c.sub_x, c.width(picture.width));
    float above = lerp((float)c.load(ty.first, tx.first), (float)c.load(ty.first, tx.second), tx.share);
    float below = lerp((float)c.load(ty.second, tx.first), (float)c.load(ty.second, tx.second), tx.share);
    return lerp(above, below, ty.share);
}

__device__ void colors_of(const Picture& picture, const Codes& codes, int y, int x, float rgb[3]) {
    if (codes.kind == 2) {
        for (int i = 0; i < 3; i++) rgb[i] = (float)picture.components[i].load(y, x) / (float)picture.components[i].max;
        return;
    }
    float luma = codes.value(0, (float)picture.components[0].load(y, x));
    for (int i = 0; i < 3; i++) rgb[i] = luma;
    if (codes.kind == 0) return;
    float u = codes.value(1, enlarged(picture, picture.components[1], y, x));
    float v = codes.value(2, enlarged(picture, picture.components[2], y, x));
    rgb[0] = luma + codes.red_of_v * v;
    rgb[1] = luma + codes.green_of_u * u + codes.green_of_v * v;
    rgb[2] = luma + codes.blue_of_u * u;
}

template <class T>
__device__ void to_rgb(const Picture& picture, const Codes& codes, const Raster<T>& out) {
    int x = column(), y = row();
    if (!out.has(y, x)) return;
    float rgb[3];
    colors_of(picture, codes, y, x, rgb);
    for (int i = 0; i < 3; i++) write(out.at(y, x) + i, fminf(fmaxf(rgb[i], 0.0f), 1.0f));
}

KERNEL color_to_rgb(Picture picture, Codes codes, Raster<float> out) { to_rgb(picture, codes, out); }
EXPORT(color_to_rgb)
KERNEL color_to_rgb_half(Picture picture, Codes codes, Raster<__half> out) { to_rgb(picture, codes, out); }
EXPORT(color_to_rgb_half)

// Red, green and blue, [h, w, 3] of the picture; codes of a whole unit of each, and by how many all differences are made smaller.
struct Residual {
    Raster<const float> rgb;
    float shares[3], noise;
};

// Samples that are looked at together.
const int SEGMENT = 8;

// The mean difference, in codes, of the pixels that a sample covers.
__device__ float difference_at(const Residual& residual, const Component& c, int y, int x) {
    float sum = 0.0f;
    for (int py = y << c.sub_y; py < (y + 1) << c.sub_y; py++) {
        for (int px = x << c.sub_x; px < (x + 1) << c.sub_x; px++) {
            const float* rgb = residual.rgb.at(min(py, residual.rgb.height - 1), min(px, residual.rgb.width - 1));
            float codes = 0.0f;
            for (int i = 0; i < 3; i++) codes += rgb[i] * residual.shares[i];
            sum += codes;
        }
    }
    return sum / (float)(1 << (c.sub_x + c.sub_y));
}

KERNEL color_add(Component left, Component right, Component out, Residual residual, int bytes, int offset) {
    int x = column(), y = row();
    // The same for all of a warp, which lies along a row.
    if (y >= out.height(residual.rgb.height)) return;
    bool has = x < out.width(residual.rgb.width), same = true;
    if (has) {
        const u8 *l = left.at(y, x) - offset, *r = right.at(y, x) - offset, *o = out.at(y, x) - offset;
        int count = min(out.step, bytes - x * out.step);
        for (int i = 0; i < count; i++) same = same && l[i] == r[i] && o[i] == l[i];
    }
    unsigned votes = __ballot_sync(ALL, same) >> (threadIdx.x % WARP / SEGMENT * SEGMENT);
    unsigned segment = (1u << SEGMENT) - 1;
    if (!has || (votes & segment) == segment) return;
    float difference = difference_at(residual, out, y, x);
    float strong = fmaxf(fabsf(difference) - residual.noise, 0.0f);
    if (strong == 0.0f) return;
    float code = rintf((float)out.load(y, x) + copysignf(strong, difference));
    out.store(y, x, (int)fminf(fmaxf(code, 0.0f), (float)out.max));
}
EXPORT_COOPERATIVE(color_add)
