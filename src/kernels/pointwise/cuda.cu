// Value by value.
//
// pointwise_add_rectified: a sum, 0 where it is negative.
//   Raster<const float> a, b, Raster<float> out   [h, w, c]
// pointwise_surround: a picture, its edge repeated all around.
//   Raster<const float> picture           [h', w', c]
//   int top, left                         where its first pixel lies
//   Raster<float> out                     [h, w, c]
// Grids: blocks of 32 x 8 threads over (h, w c), a thread a value.
#include "../cuda/common.cuh"

KERNEL pointwise_add_rectified(Raster<const float> a, Raster<const float> b, Raster<float> out) {
    int y = row(), x = column() / out.channels, c = column() % out.channels;
    if (out.has(y, x)) out.at(y, x)[c] = fmaxf(a.at(y, x)[c] + b.at(y, x)[c], 0.0f);
}
EXPORT(pointwise_add_rectified)

KERNEL pointwise_surround(Raster<const float> picture, int top, int left, Raster<float> out) {
    int y = row(), x = column() / out.channels, c = column() % out.channels;
    if (!out.has(y, x)) return;
    out.at(y, x)[c] = picture.at(inside(y - top, picture.height), inside(x - left, picture.width))[c];
}
EXPORT(pointwise_surround)
