// Motion found in the middle between two pictures, carried to another phase. Both are a thread a cell; grids 32 x 8 threads over
// (h, w).
//
// carry_keep: Raster<const float> difference [h, w, 1], Raster<float> state [h, w, 8]
// carry:      Raster<const float> middle [h, w, 8], Phases phases, Raster<float> state [h, w, 8], difference [h, w, 1]
//
// A cell of 32 bytes is read from one place and three times four near each other, which mostly lie in the first cache, and written once;
// some 200 operations: limited by the latency of one place after another, which many threads hide.
#include "../cuda/common.cuh"

const int STATE = 8, DIFFERENCE = 4, MASK = 6, PHASE = 7, ROUNDS = 3;

KERNEL carry_keep(Raster<const float> difference, Raster<float> state) {
    int x = column(), y = row();
    if (state.has(y, x)) state.at(y, x)[DIFFERENCE] = *difference.at(y, x);
}
EXPORT(carry_keep)

// A cell of the middle from which it has gone so far.
__device__ void sample(const Raster<const float>& values, int y, int x, float gone_x, float gone_y, float cell[STATE]) {
    Taps ty = taps((float)y - gone_y, values.height), tx = taps((float)x - gone_x, values.width);
    const float *a = values.at(ty.first, tx.first), *b = values.at(ty.first, tx.second);
    const float *c = values.at(ty.second, tx.first), *d = values.at(ty.second, tx.second);
    for (int i = 0; i < STATE; i++) cell[i] = lerp(lerp(a[i], b[i], tx.share), lerp(c[i], d[i], tx.share), ty.share);
}

KERNEL carry(Raster<const float> middle, Phases phases, Raster<float> state, Raster<float> difference) {
    int x = column(), y = row();
    if (!state.has(y, x)) return;
    float t = phases.at(y, x), bend = 4.0f * t * (1.0f - t), ahead = 0.5f * (bend - 1.0f);
    float of_left = 0.5f - t - ahead, of_right = t - 0.5f - ahead;
    float found[STATE], *cell = state.at(y, x);
    for (int i = 0; i < STATE; i++) found[i] = middle.at(y, x)[i];
    for (int i = 0; i < ROUNDS; i++)
        sample(middle, y, x, of_left * found[0] + of_right * found[2], of_left * found[1] + of_right * found[3], found);
    for (int c = 0; c < 2; c++) {
        float motion = found[2 + c] - found[c], ahead = -0.5f * (found[c] + found[2 + c]);
        cell[c] = -t * motion - bend * ahead;
        cell[2 + c] = (1.0f - t) * motion - bend * ahead;
    }
    cell[DIFFERENCE] = *difference.at(y, x) = found[DIFFERENCE];
    cell[DIFFERENCE + 1] = 0.0f;
    cell[MASK] = found[MASK];
    cell[PHASE] = t;
}
EXPORT(carry)
