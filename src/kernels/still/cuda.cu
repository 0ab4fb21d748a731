// How far two pictures are apart where nothing moves, and what stands still over what moves.
//
// still_cells: a thread a cell of 4x4 samples. Fuses `change::of_cells` and `still::edges`, which read the same samples; either output
// is left out where it is null.
//   Raster<const u8> left, right          luma, [H, W, 1] each
//   Raster<float> change, edges           [h, w, 1] each
// still_around: a thread a cell; `change::around`. Raster<const float> cells, Raster<float> out, [h, w, 1] each.
// still_choose: a thread a cell. Raster<const float> edges, difference, change, Raster<float> kept, [h, w, 1] each.
// still_keep: a thread a sample of components alike in size; where a cell is kept, all or none of them are, as what is around a sample tells.
//   Picture left, right, out              these components alone
//   Raster<const float> kept
// Grids: 32 x 8 threads over (h, w), of still_keep over the samples of a component.
//
// Limited by memory: 32 bytes of luma a cell for some 400 operations of edges; a warp reads 128 bytes of a row side by side. Few
// cells are ever kept: still_keep is one read of 4 bytes for 4x4 samples elsewhere.
#include "../cuda/picture.cuh"
#include "edge.cuh"

const int SAMPLES = 4, ALIKE = 12, EDGE = 40, ALIKE_AROUND = 4;
const float NOISE = 3.0f, EDGES = 24.0f, DISAGREEMENT = 6.0f, MOVING = 4.0f, MET = 1.0f, EDGES_BEFORE = 12.0f, MAX_CODE = 255.0f;

// Whether there is an edge between a sample and its neighbour, if it has that.
__device__ bool edge_to(const Raster<const u8>& left, const Raster<const u8>& right, int l, int r, int y, int x) {
    if (!left.has(y, x)) return false;
    return is_edge(l, r, *left.at(y, x), *right.at(y, x), EDGE, ALIKE);
}

KERNEL still_cells(Raster<const u8> left, Raster<const u8> right, Raster<float> change, Raster<float> edges) {
    int x = column(), y = row();
    if (SAMPLES * y >= left.height || SAMPLES * x >= left.width) return;
    int bottom = min(SAMPLES * (y + 1), left.height), beyond = min(SAMPLES * (x + 1), left.width);
    int sum = 0, count = 0;
    for (int sy = SAMPLES * y; sy < bottom; sy++) {
        for (int sx = SAMPLES * x; sx < beyond; sx++) {
            int l = *left.at(sy, sx), r = *right.at(sy, sx);
            sum += abs(l - r);
            if (edges.data) count += edge_to(left, right, l, r, sy, sx + 1) || edge_to(left, right, l, r, sy + 1, sx);
        }
    }
    int samples = (bottom - SAMPLES * y) * (beyond - SAMPLES * x);
    if (change.data) *change.at(y, x) = (float)sum / ((float)samples * MAX_CODE);
    if (edges.data) *edges.at(y, x) = (float)count;
}
EXPORT(still_cells)

KERNEL still_around(Raster<const float> cells, Raster<float> out) {
    int x = column(), y = row();
    if (out.has(y, x)) *out.at(y, x) = mean_around(cells, y, x);
}
EXPORT(still_around)

KERNEL still_choose(Raster<const float> edges, Raster<const float> difference, Raster<const float> change, Raster<float> kept) {
    int x = column(), y = row();
    if (!kept.has(y, x)) return;
    float apart = *difference.at(y, x);
    bool disagree = apart > DISAGREEMENT / MAX_CODE, before = *change.at(y, x) > MOVING / MAX_CODE && apart > MET / MAX_CODE;
    // few cells are looked at
    float found = disagree || before ? 9.0f * mean_around(edges, y, x) : 0.0f;
    *kept.at(y, x) = (disagree && found >= EDGES) || (before && found >= EDGES_BEFORE) ? 1.0f : 0.0f;
}
EXPORT(still_choose)

// Whether a sample of all components is alike in both pictures.
__device__ bool alike(const Picture& left, const Picture& right, int y, int x) {
    for (int i = 0; i < left.count; i++) {
        int apart = abs(left.components[i].load(y, x) - right.components[i].load(y, x));
        if ((float)apart * MAX_CODE > (float)ALIKE * (float)left.components[i].max) return false;
    }
    return true;
}

KERNEL still_keep(Picture left, Picture right, Picture out, Raster<const float> kept) {
    int x = column(), y = row();
    const Component& first = out.components[0];
    int width = first.width(out.width), height = first.height(out.height);
    if (x >= width || y >= height) return;
    int cy = (y << first.sub_y) / SAMPLES, cx = (x << first.sub_x) / SAMPLES;
    if (!kept.has(cy, cx) || !(*kept.at(cy, cx) > 0.0f) || !alike(left, right, y, x)) return;
    int around = 0;
    for (int dy = -1; dy <= 1; dy++)
        for (int dx = -1; dx <= 1; dx++) around += alike(left, right, min(max(y + dy, 0), height - 1), min(max(x + dx, 0), width - 1));
    if (around < ALIKE_AROUND) return;
    for (int i = 0; i < out.count; i++) {
        int l = left.components[i].load(y, x), r = right.components[i].load(y, x);
        bool noise = (float)abs(l - r) * MAX_CODE <= NOISE * (float)out.components[i].max;
        // Halves go up and down in turns.
        out.components[i].store(y, x, noise ? l : (l + r + (x + y) % 2) / 2);
    }
}
EXPORT(still_keep)
