// A picture's view, and its luma as the search and the comparisons read it, in one pass over the picture.
//
// view: a thread a cell of the view (2x2 pixels). Fuses `view`, `luma::gather` and the finest level of the pyramid
// (`resample::mean`); of the last four rasters, each is left out where its pointer is null. Beyond the picture the last cell
// is repeated.
//   Picture picture                       all components, in their own planes
//   int kind                              0 grey, 1 YUV, 2 RGB
//   Raster<float> view                    [h, w, 6]
//   Raster<u8> whole, half                [2h, 2w, 1] and [h, w, 1]
//   Raster<float> luma                    [h, w, 1]
// Grid: blocks of 32 x 8 threads over (h, w).
//
// Limited by memory: of 4:2:0 in 8 bits a cell reads 6 bytes and writes 24 + 4 + 1 + 4, with some 60 operations, under 2 a byte.
//
// view_thumbnail: a warp a cell of the thumbnail.
//   Raster<const float> view              the part of a view that is the picture's, [h, w, 6]
//   int side                              cells of the view that a cell of the thumbnail is wide and high
//   Raster<float> out                     [ceil(h / side), ceil(w / side), 3]: mean luma, U and V
// Grid: 32 x 4 threads over (h, 32 w) of out.
#include "../cuda/picture.cuh"
#include "../luma/code.cuh"

const float KR = 0.2126f, KB = 0.0722f;

// The codes of component c at the pixels (0, 0), (0, 1), (1, 0), (1, 1) of a cell, the edge repeated.
__device__ void codes(const Picture& p, int c, int y, int x, float out[4]) {
    const Component& component = p.components[c];
    for (int i = 0; i < 4; i++) {
        int py = min(2 * y + i / 2, p.height - 1), px = min(2 * x + i % 2, p.width - 1);
        out[i] = (float)component.load(py >> component.sub_y, px >> component.sub_x);
    }
}

__device__ float mean_of(const float v[4]) { return (v[0] + v[1] + v[2] + v[3]) * 0.25f; }

__device__ float luma_of(float r, float g, float b, float scale) { return (KR * r + (1.0f - KR - KB) * g + KB * b) * scale; }

__device__ void of_rgb(const float r[4], const float g[4], const float b[4], float scale, float cell[6]) {
    float red = mean_of(r), blue = mean_of(b);
    float y = luma_of(red, mean_of(g), blue, scale);
    for (int i = 0; i < 4; i++) cell[i] = luma_of(r[i], g[i], b[i], scale) - 0.5f;
    cell[4] = (blue * scale - y) * (1.0f / (2.0f - 2.0f * KB));
    cell[5] = (red * scale - y) * (1.0f / (2.0f - 2.0f * KR));
}

__device__ void cell_of(const Picture& p, int kind, int y, int x, float cell[6]) {
    float scale = 1.0f / (float)p.components[0].max;
    float a[4], b[4], c[4];
    codes(p, 0, y, x, a);
    if (kind != 0) {
        codes(p, 1, y, x, b);
        codes(p, 2, y, x, c);
    }
    if (kind == 2) {
        of_rgb(a, b, c, scale, cell);
        return;
    }
    for (int i = 0; i < 4; i++) cell[i] = a[i] * scale - 0.5f;
    cell[4] = kind == 0 ? 0.0f : mean_of(b) * scale - 0.5f;
    cell[5] = kind == 0 ? 0.0f : mean_of(c) * scale - 0.5f;
}

KERNEL view(Picture picture, int kind, Raster<float> out, Raster<u8> whole, Raster<u8> half, Raster<float> luma) {
    int x = column(), y = row();
    if (!out.has(y, x)) return;
    float cell[6];
    cell_of(picture, kind, min(y, (picture.height - 1) / 2), min(x, (picture.width - 1) / 2), cell);
    float* to = out.at(y, x);
    for (int c = 0; c < 6; c++) to[c] = cell[c];
    gather(cell, y, x, whole, half);
    if (luma.data) *luma.at(y, x) = (cell[0] + cell[1] + cell[2] + cell[3]) * 0.25f;
}
EXPORT(view)

KERNEL view_thumbnail(Raster<const float> view, int side, Raster<float> out) {
    // The same for all of a warp.
    int x = column() / (int)WARP, y = row(), thread = threadIdx.x % WARP;
    if (!out.has(y, x)) return;
    int top = y * side, left = x * side, tall = min(side, view.height - top), wide = min(side, view.width - left);
    float luma = 0.0f, u = 0.0f, v = 0.0f;
    for (int i = thread; i < tall * wide; i += WARP) {
        const float* cell = view.at(top + i / wide, left + i % wide);
        luma += (cell[0] + cell[1] + cell[2] + cell[3]) / 4.0f;
        u += cell[4];
        v += cell[5];
    }
    float means[3] = {warp_sum(luma), warp_sum(u), warp_sum(v)};
    if (thread == 0)
        for (int c = 0; c < 3; c++) out.at(y, x)[c] = means[c] / (float)(tall * wide);
}
EXPORT_COOPERATIVE(view_thumbnail)
