// The state of the estimate. All are a thread a cell; grids 32 x 8 threads over (h, w). Limited by memory: a cell of 32 bytes is read
// and written for 20 to 60 operations, 16 bytes at a time.
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

__device__ float4 four(const float* from) {
    if ((size_t)from % sizeof(float4) == 0) return *(const float4*)from;
    return {from[0], from[1], from[2], from[3]};
}

// The state of a cell.
struct Cell {
    float values[PHASE + 1];

    __device__ Cell() {}
    __device__ explicit Cell(const float* from) {
        float4 halves[2] = {four(from), four(from + 4)};
        for (int i = 0; i < 2; i++) {
            float* to = values + 4 * i;
            to[0] = halves[i].x, to[1] = halves[i].y, to[2] = halves[i].z, to[3] = halves[i].w;
        }
    }
    __device__ void put(float* to) const {
        const float* v = values;
        if ((size_t)to % sizeof(float4) == 0) {
            ((float4*)to)[0] = {v[0], v[1], v[2], v[3]};
            ((float4*)to)[1] = {v[4], v[5], v[6], v[7]};
        } else {
            for (int i = 0; i <= PHASE; i++) to[i] = v[i];
        }
    }
};

KERNEL motion_begin(Phases phases, Raster<float> state) {
    int x = column(), y = row();
    if (!state.has(y, x)) return;
    Cell cell;
    for (int c = 0; c < PHASE; c++) cell.values[c] = 0.0f;
    cell.values[PHASE] = phases.at(y, x);
    cell.put(state.at(y, x));
}
EXPORT(motion_begin)

// What an enlarged cell is multiplied with: distances double, displacement and phase are not taken over.
__device__ float factor_of(int c) { return c < DISPLACEMENT ? 2.0f : c == MASK ? 1.0f : 0.0f; }

KERNEL motion_advance(Raster<const float> coarser, Raster<const float> detail, Phases phases, Raster<float> state) {
    int x = column(), y = row();
    if (!state.has(y, x)) return;
    Taps ty = neighbours(y, coarser.height), tx = neighbours(x, coarser.width);
    Cell a(coarser.at(ty.first, tx.first)), b(coarser.at(ty.first, tx.second));
    Cell c(coarser.at(ty.second, tx.first)), d(coarser.at(ty.second, tx.second)), cell;
    for (int i = 0; i < PHASE; i++) {
        float upper = 0.75f * a.values[i] + 0.25f * b.values[i], lower = 0.75f * c.values[i] + 0.25f * d.values[i];
        cell.values[i] = factor_of(i) * (0.75f * upper + 0.25f * lower);
    }
    if (detail.data) {
        const float* more = detail.at(y, x);
        float4 flow = four(more);
        cell.values[0] += flow.x, cell.values[1] += flow.y, cell.values[2] += flow.z, cell.values[3] += flow.w;
        cell.values[MASK] += more[4];
    }
    cell.values[PHASE] = phases.at(y, x);
    cell.put(state.at(y, x));
}
EXPORT(motion_advance)

KERNEL motion_update(Raster<const float> changes, Raster<const float> luma, Raster<const float> acceleration, Raster<float> state) {
    int x = column(), y = row();
    if (!state.has(y, x)) return;
    const float *change = changes.at(y, x), *by_luma = luma.at(y, x);
    float4 flow = four(change);
    Cell own(state.at(y, x));
    float* cell = own.values;
    float gate = sigmoid(change[5]), gate_of_luma = sigmoid(change[6]), t = cell[PHASE];
    float dx = gate * cell[DISPLACEMENT] + gate_of_luma * by_luma[0];
    float dy = gate * cell[DISPLACEMENT + 1] + gate_of_luma * by_luma[1];
    float ax = 0.0f, ay = 0.0f;
    if (acceleration.data) {
        float ahead = sigmoid(change[CHANGE]) * t * (1.0f - t) / 2.0f;
        ax = ahead * acceleration.at(y, x)[0];
        ay = ahead * acceleration.at(y, x)[1];
    }
    cell[0] += flow.x - t * dx + ax;
    cell[1] += flow.y - t * dy + ay;
    cell[2] += flow.z + (1.0f - t) * dx + ax;
    cell[3] += flow.w + (1.0f - t) * dy + ay;
    cell[MASK] += change[4];
    own.put(state.at(y, x));
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
    Cell own(state.at(y, x));
    const float* cell = own.values;
    float* to = flow.at(y, x);
    if ((size_t)to % sizeof(float4) == 0)
        *(float4*)to = {cell[0] * scale, cell[1] * scale, cell[2] * scale, cell[3] * scale};
    else
        for (int c = 0; c < 4; c++) to[c] = cell[c] * scale;
    float t = cell[PHASE], right = t * expf(-cell[MASK]);
    *weight.at(y, x) = (1.0f - t) / (1.0f - t + right);
}
EXPORT(motion_conclude)
