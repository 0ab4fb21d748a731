// How far the motion of each cell is from an even one: a thread solves the equation of a cell; grids 32 x 8 threads over (h, w). The field and
// its solver are those of `trajectory/field.rs` and `trajectory/solver.rs`, operation by operation.
//
// bend, bend_lean (what a way is further ahead at 1/4 than at 3/4, halved):
//   Raster<const float> flow, phase       [h, w, 4] in cells and [h, w, 1]
//   Raster<const float> cues, change      [h, w, 8] and [h, w, 8]
//   Raster<const float> future            [h, w, 3]
//   Field field                           the weights, by value: all threads read the same one at a time
//   Raster<float> out                     [h, w, 2] in cells
// bend_put_lean: Raster<const float> lean [h / 2, w / 2, 2], Phases phases, Raster<float> state [h, w, 8]; a bilinear sample a thread.
//
// Arithmetic limits: a step is 11 changes of 128 products each. Most cells take one step each way or none; a warp takes as many as
// its slowest cell.
#include "../hypotheses/motion.cuh"

const int LATENT = 2, STATE = 4 + LATENT, CLUES = 10, INPUTS = CLUES + 2 + LATENT, HIDDEN = 16, OUTPUTS = 2 + LATENT;
const int HYPOTHESES = 3, CHANGE = 7;
const float LEAST = 0.015f, REST = 0.5f, TOLERANCE = 0.0125f, SHORTEST = 1.0f / 32.0f, MOST = 1e4f, SHARE = 1.0f / 15.0f;

struct Field {
    float entry[INPUTS][HIDDEN], entry_bias[HIDDEN], head[OUTPUTS][HIDDEN], head_bias[OUTPUTS];
};

// Place, velocity, latent values.
struct State {
    float v[STATE];
};

// What a cell is told: `Clues`. An acceleration counts where it is known.
struct Clues {
    float2 motion, accelerations[2];
    bool known[2];
    float inconsistency[2], difference, gate;
};

// The field along one way.
struct Way {
    const Field& field;
    float2 motion, accelerations[2];
    float hidden[HIDDEN];
};

__device__ float squash(float x) { return x / (1.0f + x); }
__device__ float softsign(float x) { return x / (1.0f + fabsf(x)); }

__device__ void add(float hidden[HIDDEN], float value, const float weights[HIDDEN]) {
    for (int h = 0; h < HIDDEN; h++) hidden[h] += value * weights[h];
}

// `Way::new` of clues of which one acceleration at least is known.
__device__ Way way_of(const Field& field, const Clues& clues) {
    float2 before = clues.accelerations[clues.known[0] ? 0 : 1], after = clues.accelerations[clues.known[1] ? 1 : 0];
    Way way = {field, clues.motion, {before, after}, {}};
    float scale = length(clues.motion) + REST, a = length(before), b = length(after);
    float known[2] = {clues.known[0] ? 1.0f : 0.0f, clues.known[1] ? 1.0f : 0.0f};
    float told[CLUES] = {squash(a / scale),
                         squash(b / scale),
                         (before.x * after.x + before.y * after.y) / (a * b),
                         squash(length({after.x - before.x, after.y - before.y}) / scale),
                         clues.inconsistency[0],
                         clues.inconsistency[1],
                         clues.difference,
                         clues.gate * known[0],
                         known[0],
                         known[1]};
    for (int h = 0; h < HIDDEN; h++) way.hidden[h] = field.entry_bias[h];
    for (int i = 0; i < CLUES; i++) add(way.hidden, told[i], field.entry[i]);
    return way;
}

// Gains of both accelerations, and the change of the latent values.
__device__ void answer(const Way& way, const State& z, float t, float out[OUTPUTS]) {
    float hidden[HIDDEN], state[INPUTS - CLUES] = {squash(length({z.v[2], z.v[3]})), t, z.v[4], z.v[5]};
    for (int h = 0; h < HIDDEN; h++) hidden[h] = way.hidden[h];
    for (int i = 0; i < INPUTS - CLUES; i++) add(hidden, state[i], way.field.entry[CLUES + i]);
    for (int h = 0; h < HIDDEN; h++) hidden[h] = softsign(hidden[h]);
    for (int o = 0; o < OUTPUTS; o++) {
        out[o] = way.field.head_bias[o];
        for (int h = 0; h < HIDDEN; h++) out[o] += hidden[h] * way.field.head[o][h];
    }
    for (int o = 0; o < 2; o++) out[o] = 1.0f + softsign(out[o]);
}

// `Way::start`, at `place`.
__device__ State start_of(const Way& way, float t, float2 place) {
    float mx = way.motion.x, my = way.motion.y, gains[OUTPUTS];
    State z = {{t * mx, t * my, mx, my}};
    answer(way, z, t, gains);
    float first = t == 0.0f ? -2.0f : 1.0f, second = t == 0.0f ? -1.0f : 2.0f;
    float2 a = way.accelerations[0], b = way.accelerations[1];
    z.v[2] += (first * gains[0] * a.x + second * gains[1] * b.x) / 6.0f;
    z.v[3] += (first * gains[0] * a.y + second * gains[1] * b.y) / 6.0f;
    z.v[0] = place.x;
    z.v[1] = place.y;
    return z;
}

__device__ State change_of(const Way& way, const State& z, float t) {
    float out[OUTPUTS];
    answer(way, z, t, out);
    float2 a = way.accelerations[0], b = way.accelerations[1];
    return {{z.v[2], z.v[3], (1.0f - t) * out[0] * a.x + t * out[1] * b.x, (1.0f - t) * out[0] * a.y + t * out[1] * b.y, out[2], out[3]}};
}

__device__ State along(const State& z, const State& change, float by) {
    State to;
    for (int i = 0; i < STATE; i++) to.v[i] = z.v[i] + by * change.v[i];
    return to;
}

// One classical step, with the change at its beginning.
__device__ State stepped(const Way& way, const State& z, const State& first, float t, float step) {
    float half = 0.5f * step;
    State second = change_of(way, along(z, first, half), t + half);
    State third = change_of(way, along(z, second, half), t + half);
    State last = change_of(way, along(z, third, step), t + step), to;
    for (int i = 0; i < STATE; i++)
        to.v[i] = z.v[i] + step / 6.0f * (first.v[i] + 2.0f * (second.v[i] + third.v[i]) + last.v[i]);
    return to;
}

// The state after a step, and its largest error.
__device__ State attempt(const Way& way, const State& z, float t, float step, float* error) {
    State first = change_of(way, z, t);
    float half = 0.5f * step;
    State whole = stepped(way, z, first, t, step), middle = stepped(way, z, first, t, half);
    State halves = stepped(way, middle, change_of(way, middle, t + half), t + half, half), differences;
    *error = 0.0f;
    for (int i = 0; i < STATE; i++) {
        float d = differences.v[i] = SHARE * (halves.v[i] - whole.v[i]);
        *error = d != d ? INFINITY : fmaxf(fabsf(d), *error);
    }
    return along(halves, differences, 1.0f);
}

// `solver::carry`: false where the equation is stiff or explodes.
__device__ bool carry(const Way& way, State& state, float from, float to) {
    int done = 0, pieces = 1;
    float at = from;
    while (done < pieces) {
        float end = done + 1 == pieces ? to : from + (to - from) * ((float)(done + 1) / (float)pieces);
        float step = end - at, error;
        State next = attempt(way, state, at, step, &error);
        if (error <= TOLERANCE) {
            for (int i = 0; i < STATE; i++)
                if (fabsf(next.v[i]) > MOST) return false;
            state = next;
            at = end;
            done++;
            if (done % 2 == 0) {
                done /= 2;
                pieces /= 2;
            }
        } else if (fabsf(step) > SHORTEST) {
            done *= 2;
            pieces *= 2;
        } else {
            return false;
        }
    }
    return true;
}

__device__ float2 bent(const Field& field, const Clues& clues, float t) {
    Way way = way_of(field, clues);
    State forth = start_of(way, 0.0f, {0.0f, 0.0f}), back = start_of(way, 1.0f, clues.motion);
    if (!carry(way, forth, 0.0f, t) || !carry(way, back, 1.0f, t)) return {0.0f, 0.0f};
    return {(1.0f - t) * forth.v[0] + t * back.v[0] - t * clues.motion.x, (1.0f - t) * forth.v[1] + t * back.v[1] - t * clues.motion.y};
}

// What the kernels for a cell are given.
struct Cells {
    Raster<const float> flows, cues, change, future;
};

// What is told of a cell; false where its motion is even.
__device__ bool clues_of(const Cells& cells, int y, int x, Clues& clues) {
    const float *flow = cells.flows.at(y, x), *cue = cells.cues.at(y, x);
    clues.motion = {flow[2] - flow[0], flow[3] - flow[1]};
    clues.accelerations[0] = {cue[HYPOTHESES + 2], cue[HYPOTHESES + 3]};
    clues.known[0] = cue[HYPOTHESES + 4] > 0.0f;
    clues.known[1] = cells.future.at(y, x)[2] != 0.0f;
    float2 ahead = sample(cells.future, y, x, 0, flow[2], flow[3]);
    clues.accelerations[1] = limited({ahead.x - clues.motion.x, ahead.y - clues.motion.y}, clues.motion);
    clues.inconsistency[0] = cue[HYPOTHESES];
    clues.inconsistency[1] = cue[HYPOTHESES + 1];
    clues.difference = fminf(fminf(cue[0], cue[1]), cue[2]);
    clues.gate = sigmoid(cells.change.at(y, x)[CHANGE]);
    bool even = true;
    for (int i = 0; i < 2; i++) {
        float2 a = clues.accelerations[i];
        even = even && (!clues.known[i] || (fabsf(a.x) < LEAST && fabsf(a.y) < LEAST));
    }
    return !even;
}

KERNEL bend(Raster<const float> flows, Raster<const float> phase, Raster<const float> cues, Raster<const float> change,
            Raster<const float> future, const __grid_constant__ Field field, Raster<float> out) {
    int x = column(), y = row();
    if (!out.has(y, x)) return;
    Clues clues;
    float2 by = {0.0f, 0.0f};
    if (clues_of({flows, cues, change, future}, y, x, clues)) by = bent(field, clues, *phase.at(y, x));
    out.at(y, x)[0] = by.x;
    out.at(y, x)[1] = by.y;
}
EXPORT(bend)

KERNEL bend_lean(Raster<const float> flows, Raster<const float> phase, Raster<const float> cues, Raster<const float> change,
                 Raster<const float> future, const __grid_constant__ Field field, Raster<float> out) {
    int x = column(), y = row();
    if (!out.has(y, x)) return;
    Clues clues;
    float2 by = {0.0f, 0.0f};
    if (clues_of({flows, cues, change, future}, y, x, clues)) {
        float2 early = bent(field, clues, 0.25f), late = bent(field, clues, 0.75f);
        by = {0.5f * (early.x - late.x), 0.5f * (early.y - late.y)};
    }
    out.at(y, x)[0] = by.x;
    out.at(y, x)[1] = by.y;
}
EXPORT(bend_lean)

KERNEL bend_put_lean(Raster<const float> lean, Phases phases, Raster<float> state) {
    int x = column(), y = row();
    if (!state.has(y, x)) return;
    float t = phases.at(y, x), *cell = state.at(y, x);
    float gone_x = (t - 0.5f) * (cell[2] - cell[0]), gone_y = (t - 0.5f) * (cell[3] - cell[1]);
    float2 there = sample(lean, 0, 0, 0, 0.5f * ((float)x - gone_x) - 0.25f, 0.5f * ((float)y - gone_y) - 0.25f);
    float share = 2.0f / (3.0f / 32.0f) * t * (1.0f - t) * (1.0f - 2.0f * t), by[2] = {share * there.x, share * there.y};
    for (int i = 0; i < 4; i++) cell[i] -= by[i % 2];
}
EXPORT(bend_put_lean)
