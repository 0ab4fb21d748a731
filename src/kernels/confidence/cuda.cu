// How far off a made picture is likely to be, and what to do where that is far. All are a thread a cell; grids 32 x 8 threads over
// (h, w). Limited by memory: four bytes an operand for some 30 operations.
//
// confidence_judge: fuses `estimate` and `toward_nearer`, for a mask that is `finer` times as large as the confidence each way; a thread a
// value of the mask, the first one of a cell writes its confidence.
//   int finer
//   Raster<const float> difference, change   [h, w, 1] each
//   Raster<const float> mask              [finer h, finer w, 1]
//   Phases phases                         a plane of them has a value for 2x2 cells
//   Raster<float> confidence, out         [h, w, 1]: the confidence; [finer h, finer w, 1]: the mask to use
// Grid: 32 x 8 threads over the mask.
// confidence_disagree:
//   Raster<const float> flow, left, right   [h, w, 4] in pixels, and the mean luma of cells, [h, w, 1] each
//   float brightness
//   Phases phases
//   Raster<float> out                     [h, w, 1]; its mean is made of resample_row_sums
// confidence_weight_of_time: Phases phases, Raster<float> out [h, w, 1]
#include "../cuda/common.cuh"

const float CODES = 255.0f, HALF = 8.0f, OF_DIFFERENCE = 0.4f, OF_CHANGE = 0.17f, TRUSTED = 32.0f, LOST = 64.0f, FLOW_NOISE = 4.0f,
            CELL = 4.0f;

__device__ float phase_of(const Phases& phases, int y, int x) {
    if (!phases.plane.data) return phases.uniform;
    return phases.at(min(y / 2, phases.plane.height - 1), min(x / 2, phases.plane.width - 1));
}

__device__ float confidence_of(float error) {
    float confidence = HALF / (HALF + error);
    return confidence > 0.0f ? fminf(confidence, 1.0f) : 0.0f;
}

// 0 up to 0, 1 from 1, smooth between.
__device__ float smooth_step(float t) {
    t = fminf(fmaxf(t, 0.0f), 1.0f);
    return t * t * (3.0f - 2.0f * t);
}

__device__ float turned(float weight, float confidence, float nearer) {
    float undecided = 4.0f * weight * (1.0f - weight);
    float error = HALF * (1.0f / confidence - 1.0f);
    float doubt = undecided * smooth_step((error - TRUSTED) / (LOST - TRUSTED));
    return weight + doubt * (nearer - weight);
}

KERNEL confidence_judge(int finer, Raster<const float> difference, Raster<const float> change, Raster<const float> mask,
                        Phases phases, Raster<float> confidence, Raster<float> out) {
    int x = column(), y = row();
    if (!out.has(y, x)) return;
    int cy = y / finer, cx = x / finer;
    float trust = confidence_of(CODES * (OF_DIFFERENCE * *difference.at(cy, cx) + OF_CHANGE * *change.at(cy, cx)));
    if (y % finer == 0 && x % finer == 0) *confidence.at(cy, cx) = trust;
    *out.at(y, x) = turned(*mask.at(y, x), trust, phase_of(phases, cy, cx) <= 0.5f ? 1.0f : 0.0f);
}
EXPORT(confidence_judge)

// Luma at a cell moved by (fx, fy) pixels.
__device__ float moved_luma(const Raster<const float>& luma, int y, int x, float fx, float fy) {
    Taps ty = taps((float)y + fy / CELL, luma.height), tx = taps((float)x + fx / CELL, luma.width);
    float upper = lerp(*luma.at(ty.first, tx.first), *luma.at(ty.first, tx.second), tx.share);
    float lower = lerp(*luma.at(ty.second, tx.first), *luma.at(ty.second, tx.second), tx.share);
    return lerp(upper, lower, ty.share);
}

// 0 where the flows continue each other, 1 where they have nothing to do with each other.
__device__ float inconsistency(const float* flow, float phase) {
    float ax = flow[0] / phase, ay = flow[1] / phase, bx = flow[2] / (1.0f - phase), by = flow[3] / (1.0f - phase);
    float a = sqrtf(ax * ax + ay * ay), b = sqrtf(bx * bx + by * by);
    float apart = sqrtf((ax + bx) * (ax + bx) + (ay + by) * (ay + by));
    return fminf(apart / (a + b + FLOW_NOISE), 1.0f);
}

KERNEL confidence_disagree(Raster<const float> flows, Raster<const float> left, Raster<const float> right, float brightness,
                           Phases phases, Raster<float> out) {
    int x = column(), y = row();
    if (!out.has(y, x)) return;
    const float* flow = flows.at(y, x);
    float difference = moved_luma(left, y, x, flow[0], flow[1]) - moved_luma(right, y, x, flow[2], flow[3]);
    difference = fminf(fabsf(difference), fabsf(difference - brightness));
    *out.at(y, x) = difference * (1.0f + inconsistency(flow, phase_of(phases, y, x)));
}
EXPORT(confidence_disagree)

KERNEL confidence_weight_of_time(Phases phases, Raster<float> out) {
    int x = column(), y = row();
    if (out.has(y, x)) *out.at(y, x) = 1.0f - phase_of(phases, y, x);
}
EXPORT(confidence_weight_of_time)
