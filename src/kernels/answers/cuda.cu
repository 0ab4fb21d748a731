// What blocks have answered: the input of the next one, and in the end the motion. A thread a pixel of the output; see `reference.rs`.
//
// assemble: both sides warped by the flow so far, that flow in cells, mask, phase, zeros, features of the last answer.
//   Raster<float> left, right             [scale h, scale w, c]
//   Answers answers                       each [h', w', 8 or 16] on a lattice of its own
//   Phases phase                          a plane has a cell for 8x8 pixels
//   float scale                           pixels of a cell of the output
//   Raster<float> out                     [h, w, 2c + 8 or 2c + 16]; of __half: assemble_half
// conclude: their sum, flow in pixels and the left one's weight.
//   Answers answers
//   Raster<float> out                     [h, w, 5]
// answers_phases: the phase in the middle of each cell of so many pixels.
//   Phases phase, float cell
//   Raster<float> out                     [h, w, 1]
// Grid: blocks of 32 x 8 threads over (h, w).
#include "../cuda/half.cuh"

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

// Channels that a thread reads and writes at once.
const int GROUP = 8;
typedef Run<float, GROUP> Group;

// A group of channels from `c` on.
__device__ Group sample_group(const Raster<const float>& from, const Taps& y, const Taps& x, int c) {
    Group corners[2][2] = {
        {read_run<GROUP>(from.at(y.first, x.first) + c), read_run<GROUP>(from.at(y.first, x.second) + c)},
        {read_run<GROUP>(from.at(y.second, x.first) + c), read_run<GROUP>(from.at(y.second, x.second) + c)},
    };
    Group found;
    for (int i = 0; i < GROUP; i++) {
        float above = mix(corners[0][0].values[i], corners[0][1].values[i], x.share);
        float below = mix(corners[1][0].values[i], corners[1][1].values[i], x.share);
        found.values[i] = mix(above, below, y.share);
    }
    return found;
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
        Group found = sample_group(answer, of(y, scale, answer.height), of(x, scale, answer.width), 0);
        for (int c = 0; c < 4; c++) sum.flow[c] += scale * found.values[c];
        bool counts = !answers.replaced || i + 1 == answers.count;
        sum.mask += (counts ? 1.0f : 0.0f) * found.values[MASK];
    }
    return sum;
}

// In the middle of a cell of so many pixels.
__device__ float phase_in(const Phases& phase, int y, int x, float cell) {
    if (!phase.plane.data) return phase.uniform;
    float scale = PHASE_CELL / cell;
    return sample(phase.plane, of(y, scale, phase.plane.height), of(x, scale, phase.plane.width), 0);
}

// The up to four pixels that a cell is the mean of; others have no weight. All loops over them are unrolled, so that they are in registers.
const int PIXELS = 4;
struct Pixels {
    int y[PIXELS], x[PIXELS];
    float weight[PIXELS];
};

__device__ Pixels pixels(int y, int x, float scale, int height, int width) {
    Taps ty = of(y, 1.0f / scale, height), tx = of(x, 1.0f / scale, width);
    float wy[2] = {1.0f - ty.share, ty.share}, wx[2] = {1.0f - tx.share, tx.share};
    Pixels all;
#pragma unroll
    for (int i = 0; i < PIXELS; i++) {
        all.y[i] = i / 2 ? ty.second : ty.first;
        all.x[i] = i % 2 ? tx.second : tx.first;
        all.weight[i] = max(wy[i / 2], 0.0f) * max(wx[i % 2], 0.0f);
    }
    return all;
}

// Writes the means of a side's channels, each of its pixels where its motion from `first` on leads.
template <class T>
__device__ void warped(const Raster<const float>& side, const Pixels& pixels, const Motion (&motions)[PIXELS], int first, T* to) {
    for (int c = 0; c < side.channels; c += GROUP) {
        Group sum = {};
#pragma unroll
        for (int i = 0; i < PIXELS; i++) {
            if (!(pixels.weight[i] > 0.0f)) continue;
            Taps ty = taps((float)pixels.y[i] + motions[i].flow[first + 1], side.height);
            Taps tx = taps((float)pixels.x[i] + motions[i].flow[first], side.width);
            Group found = sample_group(side, ty, tx, c);
            for (int k = 0; k < GROUP; k++) sum.values[k] += pixels.weight[i] * found.values[k];
        }
        write_run<GROUP>(to + c, sum);
    }
}

template <class T>
__device__ void assembled(const Raster<const float>& left, const Raster<const float>& right, const Answers& answers, const Phases& phase,
                          float scale, const Raster<T>& out) {
    int y = row(), x = column();
    if (!out.has(y, x)) return;
    Pixels all = pixels(y, x, scale, left.height, left.width);
    Motion motions[PIXELS];
    Group tail = {}, features = {};
    bool passes = out.channels > 2 * left.channels + MOTION && answers.count > 0;
#pragma unroll
    for (int i = 0; i < PIXELS; i++) {
        float weight = all.weight[i];
        if (!(weight > 0.0f)) continue;
        motions[i] = motion(answers, all.y[i], all.x[i]);
        for (int c = 0; c < 4; c++) tail.values[c] += weight * motions[i].flow[c] / scale;
        tail.values[MASK] += weight * motions[i].mask;
        tail.values[PHASE] += weight * phase_in(phase, all.y[i], all.x[i], 1.0f);
        if (!passes) continue;
        const Raster<const float>& last = answers.values[answers.count - 1];
        float cell = answers.scales[answers.count - 1];
        Group found = sample_group(last, of(all.y[i], cell, last.height), of(all.x[i], cell, last.width), MOTION);
        for (int k = 0; k < FEATURES; k++) features.values[k] += weight * found.values[k];
    }
    T* to = out.at(y, x);
    warped(left, all, motions, 0, to);
    warped(right, all, motions, 2, to + left.channels);
    write_run<GROUP>(to + 2 * left.channels, tail);
    if (out.channels > 2 * left.channels + MOTION) write_run<GROUP>(to + 2 * left.channels + MOTION, features);
}

#define ASSEMBLE(NAME, T)     KERNEL NAME(Raster<const float> left, Raster<const float> right, const __grid_constant__ Answers answers, Phases phase, float scale,                 Raster<T> out) {         assembled(left, right, answers, phase, scale, out);     }     EXPORT(NAME)
ASSEMBLE(assemble, float)
ASSEMBLE(assemble_half, __half)

KERNEL conclude(const __grid_constant__ Answers answers, Raster<float> out) {
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
