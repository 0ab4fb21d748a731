// The state of the estimate. All are a thread a cell; grids 32 x 8 threads over (h, w). Limited by memory: a cell of 32 bytes is read
// and written for 20 to 60 operations.
//
// motion_begin:   Phases phases, Raster<float> state [h, w, 8]
// motion_advance: Raster<const float> coarser [ceil(h / 2), ceil(w / 2), 8], detail [h, w, 5 or more] or null, Phases phases,
//                 Raster<float> state
// motion_update:  Raster<const float> change [h, w, 7 or more], luma [h, w, 2 or more], acceleration [h, w, 2] or null,
//                 Raster<float> state
// motion_put_ahead: Raster<const float> ahead [h, w, 2], Raster<float> state
// motion_conclude: fuses `flow` and `weight_of_left`. Raster<const float> state, float scale, Raster<float> flow [h, w, 4],
//                 weight [h, w, 1]
#include "../cuda/common.cuh"

const int DISPLACEMENT = 4, MASK = 6, PHASE = 7, CHANGE = 7;

KERNEL motion_begin(Phases phases, Raster<float> state) {
    int x = column(), y = row();
    if (!state.has(y, x)) return;
    float* cell = state.at(y, x);
    for (int c = 0; c < PHASE; c++) cell[c] = 0.0f;
    cell[PHASE] = phases.at(y, x);
}
EXPORT(motion_begin)

// What an enlarged cell is multiplied with: distances double, displacement and phase are not taken over.
__device__ float factor_of(int c) { return c < DISPLACEMENT ? 2.0f : c == MASK ? 1.0f : 0.0f; }

KERNEL motion_advance(Raster<const float> coarser, Raster<const float> detail, Phases phases, Raster<float> state) {
    int x = column(), y = row();
    if (!state.has(y, x)) return;
    Taps ty = neighbours(y, coarser.height), tx = neighbours(x, coarser.width);
    const float *a = coarser.at(ty.first, tx.first), *b = coarser.at(ty.first, tx.second);
    const float *c = coarser.at(ty.second, tx.first), *d = coarser.at(ty.second, tx.second);
    float* cell = state.at(y, x);
    for (int i = 0; i < PHASE; i++) {
        float upper = 0.75f * a[i] + 0.25f * b[i], lower = 0.75f * c[i] + 0.25f * d[i];
        float value = factor_of(i) * (0.75f * upper + 0.25f * lower);
        if (detail.data && i < DISPLACEMENT) value += detail.at(y, x)[i];
        if (detail.data && i == MASK) value += detail.at(y, x)[4];
        cell[i] = value;
    }
    cell[PHASE] = phases.at(y, x);
}
EXPORT(motion_advance)

KERNEL motion_update(Raster<const float> changes, Raster<const float> luma, Raster<const float> acceleration, Raster<float> state) {
    int x = column(), y = row();
    if (!state.has(y, x)) return;
    const float* change = changes.at(y, x);
    const float* by_luma = luma.at(y, x);
    float* cell = state.at(y, x);
    float gate = sigmoid(change[5]), gate_of_luma = sigmoid(change[6]), t = cell[PHASE];
    float dx = gate * cell[DISPLACEMENT] + gate_of_luma * by_luma[0];
    float dy = gate * cell[DISPLACEMENT + 1] + gate_of_luma * by_luma[1];
    float ax = 0.0f, ay = 0.0f;
    if (acceleration.data) {
        float ahead = sigmoid(change[CHANGE]) * t * (1.0f - t) / 2.0f;
        ax = ahead * acceleration.at(y, x)[0];
        ay = ahead * acceleration.at(y, x)[1];
    }
    cell[0] += change[0] - t * dx + ax;
    cell[1] += change[1] - t * dy + ay;
    cell[2] += change[2] + (1.0f - t) * dx + ax;
    cell[3] += change[3] + (1.0f - t) * dy + ay;
    cell[MASK] += change[4];
}
EXPORT(motion_update)

KERNEL motion_put_ahead(Raster<const float> ahead, Raster<float> state) {
    int x = column(), y = row();
    if (!state.has(y, x)) return;
    const float* by = ahead.at(y, x);
    float* cell = state.at(y, x);
    for (int c = 0; c < DISPLACEMENT; c++) cell[c] -= by[c % 2];
}
EXPORT(motion_put_ahead)

KERNEL motion_conclude(Raster<const float> state, float scale, Raster<float> flow, Raster<float> weight) {
    int x = column(), y = row();
    if (!state.has(y, x)) return;
    const float* cell = state.at(y, x);
    for (int c = 0; c < 4; c++) flow.at(y, x)[c] = cell[c] * scale;
    float t = cell[PHASE], right = t * expf(-cell[MASK]);
    *weight.at(y, x) = (1.0f - t) / (1.0f - t + right);
}
EXPORT(motion_conclude)
