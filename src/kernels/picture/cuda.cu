// copy: a picture to where its values lie otherwise apart. A thread a value.
//   Raster<float> picture, out            [h, w, c]
// Grid: blocks of 32 x 8 threads over (h, w c).
#include "../cuda/common.cuh"

KERNEL copy(Raster<const float> picture, Raster<float> out) {
    int y = row(), x = column() / out.channels, c = column() % out.channels;
    if (!out.has(y, x)) return;
    out.at(y, x)[c] = picture.at(y, x)[c];
}
EXPORT(copy)
