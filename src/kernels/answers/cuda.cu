// What blocks have answered: the input of the next one, and in the end the motion. A thread a pixel of the output; see `reference.rs`.
//
// assemble: both sides warped by the flow so far, that flow in cells, mask, phase, zeros, features of the last answer.
//   Raster<float> left, right             [scale h, scale w, c]
//   Answers answers                       each [h', w', 8 or 16] on a lattice of its own
//   Phases phase                          a plane has a cell for 8x8 pixels
//   float scale                           pixels of a cell of the output
//   Raster<float> out                     [h, w, 2c + 8 or 2c + 16]
// conclude: their sum, flow in pixels and the left one's weight.
//   Answers answers
//   Raster<float> out                     [h, w, 5]
// answers_phases: the phase in the middle of each cell of so many pixels.
//   Phases phase, float cell
//   Raster<float> out                     [h, w, 1]
// Grid: blocks of 32 x 8 threads over (h, w).
#include "../cuda/common.cuh"

const int MOST = 5, MOTION = 8, FEATURES = 8, MASK = 4, PHASE = 5;
const float PHASE_CELL = 8.0f;

struct Answers {
    Raster<const float> values[MOST];
    // Pixels of a cell of each.
    float scales[MOST];
    int count;
    // Whether the last mask replaces those before instead of being added to them.
    int replaced;
};

// `Taps::of`: around the middle of sample i on a lattice of cells, one for `scale` samples.
__device__ Taps of(int i, float scale, int cells) { return taps(((float)i + 0.5f) / scale - 0.5f, cells); }

__device__ float sample(const Raster<const float>& from, const Taps& y, const Taps& x, int c) {
    float above = mix(from.at(y.first, x.first)[c], from.at(y.first, x.second)[c], x.share);
    float below = mix(from.at(y.second, x.first)[c], from.at(y.second, x.second)[c], x.share);
    return mix(above, below, y.share);
}

struct Motion {
    float flow[4], mask;
};

// Flow in pixels, and the mask's logit, of the pixel at (y, x).
__device__ Motion motion(const Answers& answers, int y, int x) {
    Motion sum = {{0.0f, 0.0f, 0.0f, 0.0f}, 0.0f};
    for (int i = 0; i < answers.count; i++) {
        const Raster<const float>& answer = answers.values[i];
        float scale = answers.scales[i];
        Taps ty = of(y, scale, answer.height), tx = of(x, scale, answer.width);
        for (int c = 0; c < 4; c++) sum.flow[c] += scale * sample(answer, ty, tx, c);
        bool counts = !answers.replaced || i + 1 == answers.count;
        sum.mask += (counts ? 1.0f : 0.0f) * sample(answer, ty, tx, MASK);
    }
    return sum;
}

// In the middle of a cell of so many pixels.
__device__ float phase_in(const Phases& phase, int y, int x, float cell) {
    if (!phase.plane.data) return phase.uniform;
    float scale = PHASE_CELL / cell;
    return sample(phase.plane, of(y, scale, phase.plane.height), of(x, scale, phase.plane.width), 0);
}

// The up to four pixels that a cell is the mean of.
struct Pixels {
    int count, y[4], x[4];
    float weight[4];
};

__device__ Pixels pixels(int y, int x, float scale, int height, int width) {
    Taps ty = of(y, 1.0f / scale, height), tx = of(x, 1.0f / scale, width);
    float wy[2] = {1.0f - ty.share, ty.share}, wx[2] = {1.0f - tx.share, tx.share};
    Pixels all = {0, {}, {}, {}};
    for (int i = 0; i < 4; i++) {
        float below = wy[i / 2], right = wx[i % 2];
        if (!(below > 0.0f && right > 0.0f)) continue;
        all.y[all.count] = i / 2 ? ty.second : ty.first;
        all.x[all.count] = i % 2 ? tx.second : tx.first;
        all.weight[all.count++] = below * right;
    }
    return all;
}

// Fills `to` with the means of a side's channels, each of its pixels where its motion leads.
__device__ void warped(const Raster<const float>& side, const Pixels& pixels, const Motion* motions, int first, float* to) {
    Taps ty[4], tx[4];
    for (int i = 0; i < pixels.count; i++) {
        ty[i] = taps((float)pixels.y[i] + motions[i].flow[first + 1], side.height);
        tx[i] = taps((float)pixels.x[i] + motions[i].flow[first], side.width);
    }
    for (int c = 0; c < side.channels; c++) {
        float sum = 0.0f;
        for (int i = 0; i < pixels.count; i++) sum += pixels.weight[i] * sample(side, ty[i], tx[i], c);
        to[c] = sum;
    }
}

KERNEL assemble(Raster<const float> left, Raster<const float> right, Answers answers, Phases phase, float scale,
                Raster<float> out) {
    int y = row(), x = column();
    if (!out.has(y, x)) return;
    Pixels all = pixels(y, x, scale, left.height, left.width);
    Motion motions[4];
    for (int i = 0; i < all.count; i++) motions[i] = motion(answers, all.y[i], all.x[i]);
    float* to = out.at(y, x);
    warped(left, all, motions, 0, to);
    warped(right, all, motions, 2, to + left.channels);
    float* tail = to + 2 * left.channels;
    int rest = out.channels - 2 * left.channels;
    for (int c = 0; c < rest; c++) tail[c] = 0.0f;
    for (int i = 0; i < all.count; i++) {
        float weight = all.weight[i];
        for (int c = 0; c < 4; c++) tail[c] += weight * motions[i].flow[c] / scale;
        tail[MASK] += weight * motions[i].mask;
        tail[PHASE] += weight * phase_in(phase, all.y[i], all.x[i], 1.0f);
        if (rest == MOTION || answers.count == 0) continue;
        const Raster<const float>& last = answers.values[answers.count - 1];
        float cell = answers.scales[answers.count - 1];
        Taps ty = of(all.y[i], cell, last.height), tx = of(all.x[i], cell, last.width);
        for (int c = 0; c < FEATURES; c++) tail[MOTION + c] += weight * sample(last, ty, tx, MOTION + c);
    }
}
EXPORT(assemble)

KERNEL conclude(Answers answers, Raster<float> out) {
    int y = row(), x = column();
    if (!out.has(y, x)) return;
    Motion found = motion(answers, y, x);
    float* to = out.at(y, x);
    for (int c = 0; c < 4; c++) to[c] = found.flow[c];
    to[MASK] = sigmoid(found.mask);
}
EXPORT(conclude)

KERNEL answers_phases(Phases phase, float cell, Raster<float> out) {
    int y = row(), x = column();
    if (out.has(y, x)) *out.at(y, x) = phase_in(phase, y, x, cell);
}
EXPORT(answers_phases)
