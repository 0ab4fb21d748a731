// What a convolution by cuDNN has before it and behind it: cuDNN reads and writes dense tensors of 16 bits whose channels are whole groups
// of 8, and makes sums of products alone.
//
// join: several tensors as one dense one [h, w, channels], zeros behind their channels.
//   Join job
// finish: from the dense sums, bias, residual and activation to the output.
//   Finish job
// A thread a group of 8 channels of a pixel, groups of a pixel one after the other; blocks of 256 threads along x.
// conv/cudnn.rs has the numbers.
#include "../narrow/job.cuh"

const int GROUP = 8;
// Bits of `whole` in `finish`.
const int RESIDUAL = 0, OUT = 1;

struct Join {
    Part parts[MOST_PARTS];
    uint4* out;
    int count, height, width, groups;
    // Of the parts: those whose groups of channels are aligned.
    unsigned whole;
    int unused;
};

struct Finish {
    const uint4* sums;
    // Null where there is none.
    Part residual;
    Part out;
    // Of each output of all groups, then slopes, as many.
    const float* bias;
    int height, width, outputs, groups;
    int leaky;
    // RESIDUAL and OUT: whether groups of channels are aligned.
    unsigned whole;
};

// The group that is this thread's.
struct Place {
    int y, x, group;
    bool has;
};
__device__ inline Place place(int height, int width, int groups) {
    long long i = (long long)blockIdx.x * blockDim.x + threadIdx.x, pixel = i / groups;
    return {(int)(pixel / width), (int)(pixel % width), (int)(i % groups), pixel < (long long)height * width};
}

KERNEL join(const __grid_constant__ Join job) {
    Place at = place(job.height, job.width, job.groups);
    if (!at.has) return;
    int index = 0, c = at.group * GROUP;
    while (index + 1 < job.count && c >= job.parts[index].channels) c -= job.parts[index++].channels;
    const Part& part = job.parts[index];
    uint4* to = job.out + ((long long)at.y * job.width + at.x) * job.groups + at.group;
    bool whole = (job.whole >> index & 1) && c % GROUP == 0 && c + GROUP <= part.channels;
    if (whole && part.half) {
        *to = *(const uint4*)((const __half*)part.data + part.at(at.y, at.x) + c);
        return;
    }
    float values[GROUP] = {};
    if (whole) {
        load_run(part, part.at(at.y, at.x) + c, values);
    } else {
#pragma unroll
        for (int i = 0; i < GROUP; i++) {
            while (index < job.count && c >= job.parts[index].channels) c -= job.parts[index++].channels;
            if (index < job.count) values[i] = job.parts[index].load(at.y, at.x, c);
            c++;
        }
    }
    *to = {pack(values[0], values[1]), pack(values[2], values[3]), pack(values[4], values[5]), pack(values[6], values[7])};
}
EXPORT(join)

KERNEL finish(const __grid_constant__ Finish job) {
    Place at = place(job.height, job.width, job.groups);
    if (!at.has) return;
    int first = at.group * GROUP;
    uint4 words = job.sums[((long long)at.y * job.width + at.x) * job.groups + at.group];
    float2 pairs[GROUP / 2] = {unpack(words.x), unpack(words.y), unpack(words.z), unpack(words.w)};
    float more[GROUP] = {};
    bool all = first + GROUP <= job.outputs;
    if (job.residual.data) {
        if (all && (job.whole >> RESIDUAL & 1)) {
            load_run(job.residual, job.residual.at(at.y, at.x) + first, more);
        } else {
#pragma unroll
            for (int i = 0; i < GROUP; i++)
                if (first + i < job.outputs) more[i] = job.residual.load(at.y, at.x, first + i);
        }
    }
    const float* slopes = job.bias + job.groups * GROUP;
    float values[GROUP];
#pragma unroll
    for (int i = 0; i < GROUP; i++) {
        // what was too large for 16 bits is infinite here
        float sum = saturated(i % 2 ? pairs[i / 2].y : pairs[i / 2].x) + job.bias[first + i];
        if (job.residual.data) sum += more[i];
        values[i] = job.leaky && sum < 0.0f ? sum * slopes[first + i] : sum;
    }
    if (all && (job.whole >> OUT & 1)) {
        store_run(job.out, job.out.at(at.y, at.x) + first, values);
        return;
    }
#pragma unroll
    for (int i = 0; i < GROUP; i++)
        if (first + i < job.outputs) job.out.store(at.y, at.x, first + i, values[i]);
}
EXPORT(finish)
