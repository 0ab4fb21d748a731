// What the kernels of dense/cuda.cu are told and share: where channels come from, and what follows the sums.
#pragma once
#include "../cuda/async.cuh"
#include "../cuda/mma.cuh"
#include "../narrow/job.cuh"

const int GROUP = 8, GROUPS = 4;
// Bits of `whole` behind those of the parts.
const int RESIDUAL = MOST_PARTS, OUT = MOST_PARTS + 1;
// A row that no picture has.
const int NOWHERE = -(1 << 20);

struct Dense {
    Part parts[MOST_PARTS];
    // Null where there is none.
    Part residual;
    // Places along the rows and columns of a pixel of the input come after each other.
    Part out;
    // Of each parity: of each step `padded` rows; then, as floats, biases and slopes.
    const uint4* weights;
    int count, steps, kernel, stride;
    // Of the input, and of the output.
    int height, width, out_height, out_width;
    int outputs, padded;
    // Whether the input is activated as it is read, and the output.
    int reading, leaky;
    // Of the parts, whether groups of channels are aligned; of RESIDUAL and OUT, what a thread has side by side.
    unsigned whole;
    // Of a transposed convolution: outputs of a place, places along a side of a parity, values from a place to its neighbours.
    int each, spread, place_row, place_pixel;
    // Rows and columns of taps above and to the left of a pixel, of each parity.
    int top[4], left[4];
    // Of all parts, padded to whole groups or steps.
    int channels;

    // Words of 16 bytes from a step to the next, and from a parity.
    __device__ long long step_apart() const { return (long long)padded * GROUPS; }
    __device__ long long parity_apart() const { return steps * step_apart() + padded / 2; }
    __device__ const float* biases(int parity) const { return (const float*)(weights + parity * parity_apart() + steps * step_apart()); }
};

__device__ inline float activated(const Dense& job, float value) { return job.reading && value < 0.0f ? value * SLOPE : value; }

// Where a group of channels comes from.
struct Source {
    const Dense& job;
    int part, c;
    // Whether all of it lies side by side in one part, and as it is wanted; or is followed by others that lie there, too.
    bool whole, as_is, followed;

    // Of the group from channel `channel` of all parts on.
    __device__ Source(const Dense& all, int channel) : job(all), part(0), c(channel) {
        while (part + 1 < job.count && c >= job.parts[part].channels) c -= job.parts[part++].channels;
        const Part& from = job.parts[part];
        whole = (job.whole >> part & 1) && c % GROUP == 0 && c + GROUP <= from.channels;
        as_is = whole && from.half && !job.reading;
        bool last = part + 1 == job.count && c + GROUP > from.channels && c < from.channels;
        followed = last && (job.whole >> part & 1) && c % GROUP == 0 && from.half && !job.reading;
    }

    // The address of what is wanted as it is.
    __device__ const void* at(int y, int x) const {
        const Part& from = job.parts[part];
        return (const __half*)from.data + from.at(y, x) + c;
    }

    // The first ones of a group: `pixel` is a multiple of a group, so those that follow are of the same pixel.
    __device__ uint4 first(int y, int x) const {
        uint4 all = *(const uint4*)at(y, x);
        unsigned words[GROUP / 2] = {all.x, all.y, all.z, all.w};
        int count = job.parts[part].channels - c;
#pragma unroll
        for (int i = 0; i < GROUP / 2; i++) words[i] = 2 * i + 1 < count ? words[i] : 2 * i < count ? words[i] & 0xffff : 0;
        return {words[0], words[1], words[2], words[3]};
    }

    // Floats, or what lies in several parts or is not aligned; rounded.
    __device__ uint4 gathered(int y, int x) const {
        if (followed) return first(y, x);
        float values[GROUP] = {};
        if (whole && !job.parts[part].half) {
            const Part& from = job.parts[part];
            Run<float, GROUP> run = *(const Run<float, GROUP>*)((const float*)from.data + from.at(y, x) + c);
            for (int i = 0; i < GROUP; i++) values[i] = activated(job, run.values[i]);
        } else {
            int index = part, channel = c;
            for (int i = 0; i < GROUP; i++) {
                if (channel >= job.parts[index].channels) {
                    channel = 0;
                    if (++index >= job.count) break;
                }
                values[i] = activated(job, job.parts[index].load(y, x, channel++));
            }
        }
        return {pack(values[0], values[1]), pack(values[2], values[3]), pack(values[4], values[5]), pack(values[6], values[7])};
    }
};

// What lies side by side of a thread's sums: outputs of one of its pixels; of each 16 of a product the upper eight have an even `run`.
template <int WIDE>
__device__ inline float& sum_of(float (&sums)[WIDE][4], int run, int output) {
    return sums[output / 2][2 * (run % 2) + output % 2];
}

// Of teams of warps that have each summed up some steps, each gets the sums of all of some runs: those that are its own.
template <class S>
__device__ inline bool is_own(int run) { return run % S::TEAMS == (int)threadIdx.x / S::TEAM; }

// `shared` has S::ROOM words of 16 bytes.
template <class S>
__device__ void gather_teams(float* shared, float (&sums)[S::TALL][S::WIDE][4]) {
    const int RUNS = 2 * S::TALL, OUTPUTS = 2 * S::WIDE;
    static_assert((S::TEAMS - 1) * RUNS * OUTPUTS * S::TEAM <= S::ROOM * 4, "room for the sums");
    if (S::TEAMS == 1) return;
    int t = (int)threadIdx.x % S::TEAM, team = (int)threadIdx.x / S::TEAM;
    __syncthreads();
#pragma unroll
    for (int run = 0; run < RUNS; run++) {
        // the one whose run it is keeps its own
        int other = team - (team > run % S::TEAMS);
        if (is_own<S>(run)) continue;
#pragma unroll
        for (int i = 0; i < OUTPUTS; i++) shared[((other * RUNS + run) * OUTPUTS + i) * S::TEAM + t] = sum_of(sums[run / 2], run, i);
    }
    __syncthreads();
#pragma unroll
    for (int run = 0; run < RUNS; run++) {
        if (!is_own<S>(run)) continue;
        for (int other = 0; other < S::TEAMS - 1; other++) {
#pragma unroll
            for (int i = 0; i < OUTPUTS; i++) sum_of(sums[run / 2], run, i) += shared[((other * RUNS + run) * OUTPUTS + i) * S::TEAM + t];
        }
    }
}

// What becomes of N outputs side by side from `first` on, the same for all pixels of a thread.
template <int N>
struct Ends {
    typedef Run<unsigned, N / 2> Words;
    const Dense& job;
    int first;
    Run<float, N> bias, slopes;
    // From a pixel's place in the output on.
    long long offset;
    // Whether they lie side by side in the output, and residuals of 16 bits do.
    bool joined, has_words;

    __device__ Ends(const Dense& all, int parity, int output) : job(all), first(output) {
        const float* biases = job.biases(parity) + first;
        bias = *(const Run<float, N>*)biases;
        slopes = *(const Run<float, N>*)(biases + job.padded);
        bool whole = first + N <= job.outputs;
        joined = whole && (job.whole >> OUT & 1) && first % job.each % N == 0 && first % job.each + N <= job.each;
        has_words = whole && job.residual.data && job.residual.half && (job.whole >> RESIDUAL & 1);
        offset = job.spread * ((long long)(parity / 2) * job.place_row + (long long)(parity % 2) * job.place_pixel);
        if (joined) offset += of(first);
    }

    // Where an output lies, seen from a parity's first one.
    __device__ long long of(int output) const {
        int place = output / job.each;
        return (long long)(place / job.spread) * job.place_row + (long long)(place % job.spread) * job.place_pixel + output % job.each;
    }

    // The residual where it `has_words`: to be asked for before it is needed.
    __device__ Words words(int y, int x) const {
        return *(const Words*)((const __half*)job.residual.data + job.residual.at(y, x) + first);
    }

    // Any other one.
    __device__ void add_residual(int y, int x, float (&sums)[N]) const {
        if (!job.residual.half && first + N <= job.outputs && (job.whole >> RESIDUAL & 1)) {
            float more[N];
            load_run(job.residual, job.residual.at(y, x) + first, more);
            for (int i = 0; i < N; i++) sums[i] += more[i];
        } else {
            for (int i = 0; i < N && first + i < job.outputs; i++) sums[i] += job.residual.load(y, x, first + i);
        }
    }

    // Makes and writes a pixel's outputs of a run of sums; its words count where it `has_words`.
    __device__ void finish(int y, int x, float (&all)[N / 2][4], int run, const Words& words) const {
        float sums[N];
#pragma unroll
        for (int i = 0; i < N; i++) sums[i] = sum_of(all, run, i) + bias.values[i];
        if (has_words) {
#pragma unroll
            for (int i = 0; i < N / 2; i++) {
                float2 both = unpack(words.values[i]);
                sums[2 * i] += both.x;
                sums[2 * i + 1] += both.y;
            }
        } else if (job.residual.data) {
            add_residual(y, x, sums);
        }
#pragma unroll
        for (int i = 0; i < N; i++)
            if (job.leaky && sums[i] < 0.0f) sums[i] *= slopes.values[i];
        long long at = job.out.at(y, x) + offset;
        if (joined) {
            store_run(job.out, at, sums);
            return;
        }
        for (int i = 0; i < N && first + i < job.outputs; i++) {
            long long to = at + of(first + i);
            job.out.half ? write((__half*)job.out.data + to, sums[i]) : write((float*)job.out.data + to, sums[i]);
        }
    }
};
