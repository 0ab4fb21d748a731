// What blocks have answered: the input of the next one, and in the end the motion. A thread a pixel of the output; see `reference.rs`.
//
// assemble: both sides warped by the flow so far, that flow in cells, mask, phase, zeros, features of the last answer.
//   Raster<float> left, right             [scale h, scale w, c]
//   Answers answers                       each [h', w', 8 or 16] on a lattice of its own
//   Phases phase                          a plane has a cell for 8x8 pixels
//   float scale, inverse                  pixels of a cell of the output, and 1 / that
//   Raster<float> out                     [h, w, 2c + 8 or 2c + 16]
//   Of sides and output of __half: assemble_half; where scale is 1: assemble_whole, assemble_whole_half.
// conclude: their sum, flow in pixels and the left one's weight.
//   Answers answers
//   Raster<float> out                     [h, w, 5]
// answers_phases: the phase in the middle of each cell of so many pixels.
//   Phases phase, float cell
//   Raster<float> out                     [h, w, 1]
// Grid: blocks of 32 x 8 threads over (h, w).
//
// Limited by arithmetic and memory alike: between four values are four products with weights that all channels share, fused.
#include "../cuda/half.cuh"

const int MOST = 5, MOTION = 8, MASK = 4, PHASE = 5;
const float PHASE_CELL = 8.0f;

struct Answers {
    Raster<const float> values[MOST];
    // Pixels of a cell of each, and 1 / that.
    float scales[MOST], inverses[MOST];
    int count;
    // Whether the last mask replaces those before instead of being added to them.
    int replaced;

    __device__ bool counts(int i) const { return !replaced || i + 1 == count; }
};

// `Taps::of`: around the middle of sample i on a lattice of cells, of which a sample is `inverse` wide.
__device__ inline Taps of(int i, float inverse, int cells) { return taps(((float)i + 0.5f) * inverse - 0.5f, cells); }

// The four values around a place: their weights times `gain`.
struct Weights {
    float all[4];

    __device__ Weights(float y, float x, float gain) {
        float below = gain * y, above = gain - below;
        all[1] = above * x;
        all[0] = above - all[1];
        all[3] = below * x;
        all[2] = below - all[3];
    }
};

// The four values around a place.
template <class T>
struct Corners {
    const T* all[4];

    __device__ Corners(const Raster<const T>& from, const Taps& y, const Taps& x) {
        all[0] = from.at(y.first, x.first);
        all[1] = from.at(y.first, x.second);
        all[2] = from.at(y.second, x.first);
        all[3] = from.at(y.second, x.second);
    }

    // Adds N channels from `c` on.
    template <int N>
    __device__ void add(int c, const Weights& weights, float (&sums)[N]) const {
        Run<float, N> found[4];
#pragma unroll
        for (int i = 0; i < 4; i++) found[i] = read_run<N>(all[i] + c);
#pragma unroll
        for (int i = 0; i < 4; i++) {
#pragma unroll
            for (int k = 0; k < N; k++) sums[k] = fmaf(weights.all[i], found[i].values[k], sums[k]);
        }
    }
};

// The up to N pixels, two rows of two, that a cell is the mean of; others have no weight. Loops over them are unrolled, so that they are in registers.
template <int N>
struct Pixels {
    static_assert(N == 1 || N == 4, "one, or two rows of two");
    int y[N], x[N];
    float weight[N];
};

// Flow in pixels, and the mask's logit.
struct Motion {
    float flow[4], mask;
};

__device__ inline bool same(const Taps& a, const Taps& b) { return a.first == b.first && a.second == b.second; }

// Adds an answer to the motion of each pixel.
template <int N>
__device__ void add_motion(const Answers& answers, int i, const Pixels<N>& pixels, Motion (&motions)[N]) {
    const Raster<const float>& answer = answers.values[i];
    float scale = answers.scales[i], inverse = answers.inverses[i];
    bool counts = answers.counts(i);
#pragma unroll
    for (int p = 0; p < N; p++) {
        Taps y = of(pixels.y[p], inverse, answer.height), x = of(pixels.x[p], inverse, answer.width);
        Corners<float> corners(answer, y, x);
        corners.add(0, Weights(y.share, x.share, scale), motions[p].flow);
        if (!counts) continue;
        float mask[1] = {motions[p].mask};
        corners.add(MASK, Weights(y.share, x.share, 1.0f), mask);
        motions[p].mask = mask[0];
    }
}

// The same where all pixels lie between the same four cells, as those of a coarser answer do: these are read once.
__device__ void add_motion_between(const Answers& answers, int i, const Taps (&y)[2], const Taps (&x)[2], Motion (&motions)[4]) {
    float scale = answers.scales[i];
    bool counts = answers.counts(i);
    Corners<float> corners(answers.values[i], y[0], x[0]);
    Run<float, 4> flow[4];
    float mask[4];
#pragma unroll
    for (int k = 0; k < 4; k++) {
        flow[k] = read_run<4>(corners.all[k]);
        mask[k] = counts ? corners.all[k][MASK] : 0.0f;
    }
#pragma unroll
    for (int p = 0; p < 4; p++) {
        Weights weights(y[p / 2].share, x[p % 2].share, scale), own(y[p / 2].share, x[p % 2].share, 1.0f);
#pragma unroll
        for (int k = 0; k < 4; k++) {
            for (int c = 0; c < 4; c++) motions[p].flow[c] = fmaf(weights.all[k], flow[k].values[c], motions[p].flow[c]);
            motions[p].mask = fmaf(own.all[k], mask[k], motions[p].mask);
        }
    }
}

__device__ void motions_of(const Answers& answers, const Pixels<4>& pixels, Motion (&motions)[4]) {
    for (int i = 0; i < answers.count; i++) {
        const Raster<const float>& answer = answers.values[i];
        float inverse = answers.inverses[i];
        Taps y[2] = {of(pixels.y[0], inverse, answer.height), of(pixels.y[3], inverse, answer.height)};
        Taps x[2] = {of(pixels.x[0], inverse, answer.width), of(pixels.x[3], inverse, answer.width)};
        if (same(y[0], y[1]) && same(x[0], x[1])) add_motion_between(answers, i, y, x, motions);
        else add_motion(answers, i, pixels, motions);
    }
}

__device__ void motions_of(const Answers& answers, const Pixels<1>& pixels, Motion (&motions)[1]) {
    for (int i = 0; i < answers.count; i++) {
        if (answers.scales[i] != 1.0f) {
            add_motion(answers, i, pixels, motions);
            continue;
        }
        // a cell is a pixel
        const float* at = answers.values[i].at(pixels.y[0], pixels.x[0]);
        Run<float, 4> flow = read_run<4>(at);
        for (int c = 0; c < 4; c++) motions[0].flow[c] += flow.values[c];
        if (answers.counts(i)) motions[0].mask += at[MASK];
    }
}

// In the middle of a cell of so many pixels.
__device__ float phase_in(const Phases& phase, int y, int x, float cell) {
    const Raster<const float>& plane = phase.plane;
    if (!plane.data) return phase.uniform;
    float scale = PHASE_CELL / cell;
    Taps ty = taps(((float)y + 0.5f) / scale - 0.5f, plane.height), tx = taps(((float)x + 0.5f) / scale - 0.5f, plane.width);
    float above = mix(*plane.at(ty.first, tx.first), *plane.at(ty.first, tx.second), tx.share);
    float below = mix(*plane.at(ty.second, tx.first), *plane.at(ty.second, tx.second), tx.share);
    return mix(above, below, ty.share);
}

__device__ Pixels<4> pixels_of(int y, int x, float scale, int height, int width) {
    Taps ty = of(y, scale, height), tx = of(x, scale, width);
    float wy[2] = {1.0f - ty.share, ty.share}, wx[2] = {1.0f - tx.share, tx.share};
    Pixels<4> all;
#pragma unroll
    for (int i = 0; i < 4; i++) {
        all.y[i] = i / 2 ? ty.second : ty.first;
        all.x[i] = i % 2 ? tx.second : tx.first;
        all.weight[i] = wy[i / 2] * wx[i % 2];
    }
    return all;
}

// Channels that a thread writes at once.
const int GROUP = 8;
typedef Run<float, GROUP> Group;

// Writes the means of a side's channels, each of its pixels where its motion from `first` on leads.
template <class T, int N>
__device__ void warped(const Raster<const T>& side, const Pixels<N>& pixels, const Motion (&motions)[N], int first, T* to) {
    for (int c = 0; c < side.channels; c += GROUP) {
        Group sum = {};
#pragma unroll
        for (int i = 0; i < N; i++) {
            if (!(pixels.weight[i] > 0.0f)) continue;
            Taps ty = taps((float)pixels.y[i] + motions[i].flow[first + 1], side.height);
            Taps tx = taps((float)pixels.x[i] + motions[i].flow[first], side.width);
            Corners<T>(side, ty, tx).add(c, Weights(ty.share, tx.share, pixels.weight[i]), sum.values);
        }
        write_run<GROUP>(to + c, sum);
    }
}

// Means of the features of the last answer.
template <int N>
__device__ Group features_of(const Answers& answers, const Pixels<N>& pixels) {
    int last = answers.count - 1;
    const Raster<const float>& answer = answers.values[last];
    float inverse = answers.inverses[last];
    Group sum = {};
#pragma unroll
    for (int i = 0; i < N; i++) {
        if (!(pixels.weight[i] > 0.0f)) continue;
        Taps y = of(pixels.y[i], inverse, answer.height), x = of(pixels.x[i], inverse, answer.width);
        Corners<float>(answer, y, x).add(MOTION, Weights(y.share, x.share, pixels.weight[i]), sum.values);
    }
    return sum;
}

template <class T, int N>
__device__ void assembled(const Raster<const T>& left, const Raster<const T>& right, const Answers& answers, const Phases& phase,
                          float inverse, const Pixels<N>& pixels, T* to, bool passes) {
    Motion motions[N] = {};
    motions_of(answers, pixels, motions);
    warped(left, pixels, motions, 0, to);
    warped(right, pixels, motions, 2, to + left.channels);
    Group tail = {};
#pragma unroll
    for (int i = 0; i < N; i++) {
        float weight = pixels.weight[i];
        if (!(weight > 0.0f)) continue;
        for (int c = 0; c < 4; c++) tail.values[c] += weight * motions[i].flow[c] * inverse;
        tail.values[MASK] += weight * motions[i].mask;
        tail.values[PHASE] += weight * phase_in(phase, pixels.y[i], pixels.x[i], 1.0f);
    }
    to += 2 * left.channels;
    write_run<GROUP>(to, tail);
    if (passes) write_run<GROUP>(to + MOTION, answers.count > 0 ? features_of(answers, pixels) : Group{});
}

#define ASSEMBLE(NAME, T, PIXELS) \
    KERNEL NAME(Raster<const T> left, Raster<const T> right, const __grid_constant__ Answers answers, Phases phase, float scale, \
                float inverse, Raster<T> out) { \
        int y = row(), x = column(); \
        if (!out.has(y, x)) return; \
        bool passes = out.channels > 2 * left.channels + MOTION; \
        assembled(left, right, answers, phase, inverse, PIXELS, out.at(y, x), passes); \
    } \
    EXPORT(NAME)
#define MEAN pixels_of(y, x, scale, left.height, left.width)
#define ONE (Pixels<1>{{y}, {x}, {1.0f}})
ASSEMBLE(assemble, float, MEAN)
ASSEMBLE(assemble_half, __half, MEAN)
ASSEMBLE(assemble_whole, float, ONE)
ASSEMBLE(assemble_whole_half, __half, ONE)

KERNEL conclude(const __grid_constant__ Answers answers, Raster<float> out) {
    int y = row(), x = column();
    if (!out.has(y, x)) return;
    Motion found[1] = {};
    motions_of(answers, ONE, found);
    float* to = out.at(y, x);
    for (int c = 0; c < 4; c++) to[c] = found[0].flow[c];
    to[MASK] = sigmoid(found[0].mask);
}
EXPORT(conclude)

KERNEL answers_phases(Phases phase, float cell, Raster<float> out) {
    int y = row(), x = column();
    if (out.has(y, x)) *out.at(y, x) = phase_in(phase, y, x, cell);
}
EXPORT(answers_phases)
