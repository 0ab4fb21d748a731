// Which flow at a phase the motion found between two pictures suggests. All are a thread a cell; grids 32 x 8 threads over (h, w).
//
// hypotheses_scaled:
//   Raster<const float> motion            [h, w, 2]
//   float pace, int known                 what it is multiplied with, and whether that is known
//   Raster<float> out                     [h, w, 3]
// hypotheses_gather:
//   Raster<const float> forth, back       [H, W, 2] in pixels of the level searched
//   int factor                            of these pixels that are a cell
//   Raster<float> found                   [h, w, 4]
// hypotheses_project:
//   Raster<const float> found, phase      [h, w, 4] and [h, w, 1]
//   Raster<float> flows                   [h, w, 8]
// hypotheses_choose: `select`. The differences come from the kernels `luma_differences` and `still_cells`.
//   Raster<const float> flows             [h, w, 8]
//   Raster<const float> cost0, cost1, cost2   [h, w, 1]: difference under each hypothesis in each cell by itself
//   Raster<const Quad> left_luma, right_luma   [H, W, 1]: read where that nothing moves is better, but not clearly
//   Raster<float> chosen, cues            [h, w, 4] and [h, w, 8], of these the first three
//   Raster<unsigned> arrivals             [h, w, 1]: nothing
// hypotheses_arrive: `arrivals::Job::arrive`, after hypotheses_choose.
//   Raster<const float> found, phase, chosen
//   Raster<unsigned> arrivals
// hypotheses_settle: fuses `arrivals::Job::settle` and `tell`, after hypotheses_arrive.
//   Raster<const float> found, past, phase, chosen
//   Raster<const unsigned> arrivals
//   Raster<const Quad> left_luma, right_luma   read where something arrives
//   Raster<float> flow, cues              [h, w, 4] and [h, w, 8], of these the last five
//
// Limited by memory and its latency: a choice reads 27 costs and 12 pairs of motion from the cache for some 150 operations.
#include "../luma/sample.cuh"
#include "arrivals.cuh"
#include "motion.cuh"

const int ROUNDS = 3;
const float STILL_MARGIN = 0.5f / 255.0f, STILL_SHARE = 2.0f, STILL_MOST = 12.0f / 255.0f, CONTRAST = 8.0f;

// Mean of the pixels of a cell, as many as are there, in cells.
__device__ float2 pooled(const Raster<const float>& flow, int y, int x, int factor) {
    int bottom = min(factor * (y + 1), flow.height), right = min(factor * (x + 1), flow.width);
    float share = 1.0f / (float)((bottom - factor * y) * (right - factor * x) * factor);
    float2 sum = {0.0f, 0.0f};
    for (int py = factor * y; py < bottom; py++) {
        for (int px = factor * x; px < right; px++) {
            const float* motion = flow.at(py, px);
            sum.x += motion[0];
            sum.y += motion[1];
        }
    }
    return {sum.x * share, sum.y * share};
}

KERNEL hypotheses_scaled(Raster<const float> motion, float pace, int known, Raster<float> out) {
    int x = column(), y = row();
    if (!out.has(y, x)) return;
    float* to = out.at(y, x);
    to[0] = known ? pace * motion.at(y, x)[0] : 0.0f;
    to[1] = known ? pace * motion.at(y, x)[1] : 0.0f;
    to[2] = known ? 1.0f : 0.0f;
}
EXPORT(hypotheses_scaled)

KERNEL hypotheses_gather(Raster<const float> forth, Raster<const float> back, int factor, Raster<float> found) {
    int x = column(), y = row();
    if (!found.has(y, x)) return;
    float* motion = found.at(y, x);
    float2 ahead = pooled(forth, y, x, factor), behind = pooled(back, y, x, factor);
    motion[0] = ahead.x;
    motion[1] = ahead.y;
    motion[2] = behind.x;
    motion[3] = behind.y;
}
EXPORT(hypotheses_gather)

// The motion of what has gone the share t of it and is at a cell now.
__device__ float2 carried(const Raster<const float>& found, int y, int x, int first, float t) {
    const float* at = found.at(y, x) + first;
    float2 motion = {at[0], at[1]};
    for (int i = 0; i < ROUNDS; i++) motion = sample(found, y, x, first, -t * motion.x, -t * motion.y);
    return motion;
}

KERNEL hypotheses_project(Raster<const float> found, Raster<const float> phase, Raster<float> flows) {
    int x = column(), y = row();
    if (!flows.has(y, x)) return;
    float t = *phase.at(y, x);
    float2 ahead = carried(found, y, x, 0, t), back = carried(found, y, x, 2, 1.0f - t);
    float* to = flows.at(y, x);
    to[0] = -t * ahead.x;
    to[1] = -t * ahead.y;
    to[2] = (1.0f - t) * ahead.x;
    to[3] = (1.0f - t) * ahead.y;
    to[4] = t * back.x;
    to[5] = t * back.y;
    to[6] = -(1.0f - t) * back.x;
    to[7] = -(1.0f - t) * back.y;
}
EXPORT(hypotheses_project)

__device__ float apart(float x, float y) {
    float e = length({x, y});
    return e / (1.0f + e);
}

KERNEL hypotheses_choose(Raster<const float> flows, Raster<const float> cost0, Raster<const float> cost1,
                         Raster<const float> cost2, Raster<const Quad> left_luma, Raster<const Quad> right_luma,
                         Raster<float> chosen, Raster<float> cues, Raster<unsigned> arrivals) {
    int x = column(), y = row();
    if (!chosen.has(y, x)) return;
    float left = CONTRAST * mean_around(cost0, y, x), right = CONTRAST * mean_around(cost1, y, x);
    float still = CONTRAST * mean_around(cost2, y, x);
    float least = fminf(left, right), better = still + CONTRAST * STILL_MARGIN;
    float more = fminf(STILL_SHARE * still, CONTRAST * STILL_MOST);
    bool stays = better < least && (better + more < least || stands_still(left_luma, right_luma, y, x));
    const float* from = flows.at(y, x) + (right < left ? 4 : 0);
    for (int c = 0; c < 4; c++) chosen.at(y, x)[c] = stays ? 0.0f : from[c];
    float* to = cues.at(y, x);
    to[0] = left;
    to[1] = right;
    to[2] = still;
    *arrivals.at(y, x) = NO_ARRIVAL;
}
EXPORT(hypotheses_choose)

KERNEL hypotheses_arrive(Raster<const float> found, Raster<const float> phase, Raster<const float> chosen, Raster<unsigned> arrivals) {
    int x = column(), y = row();
    if (!arrivals.has(y, x)) return;
    for (int way = 0; way < 2; way++) carry(found, *phase.at(y, x), chosen, y, x, way, arrivals);
}
EXPORT(hypotheses_arrive)

KERNEL hypotheses_settle(Raster<const float> found, Raster<const float> past, Raster<const float> phase, Raster<const float> chosen,
                         Raster<const unsigned> arrivals, Raster<const Quad> left_luma, Raster<const Quad> right_luma,
                         Raster<float> flow, Raster<float> cues) {
    int x = column(), y = row();
    if (!flow.has(y, x)) return;
    Raster<const Quad> luma[2] = {left_luma, right_luma};
    float f[4];
    if (!is_taken(found, *phase.at(y, x), chosen, luma, y, x, *arrivals.at(y, x), f))
        for (int c = 0; c < 4; c++) f[c] = chosen.at(y, x)[c];
    for (int c = 0; c < 4; c++) flow.at(y, x)[c] = f[c];

    float2 motion = motion_of(f);
    float2 ahead = sample(found, y, x, 0, f[0], f[1]), back = sample(found, y, x, 2, f[2], f[3]);
    float2 before = sample(past, y, x, 0, f[0], f[1]);
    float known = past.at(y, x)[2];
    float2 acceleration = limited({(motion.x + before.x) * known, (motion.y + before.y) * known}, motion);
    float* to = cues.at(y, x);
    to[3] = apart(ahead.x - motion.x, ahead.y - motion.y);
    to[4] = apart(back.x + motion.x, back.y + motion.y);
    to[5] = acceleration.x;
    to[6] = acceleration.y;
    to[7] = known;
}
EXPORT(hypotheses_settle)
