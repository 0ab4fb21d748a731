// Convolution with bias, residual and activation in one pass, for any of the shapes of `mod.rs`; beyond the picture lie zeros.
//
// convolve_wide, convolve_narrow: a block makes a tile of pixels and outputs, 4x4 a thread, as a product of matrices of which
// STEP channels of one tap at a time lie in shared memory. Pixels of a tile follow each other along the rows.
//   Convolution job
//   Raster<float> out                     [ceil(h / stride), ceil(w / stride), outputs]
// Grid: x: tiles of PIXELS over all pixels of `out`, y: tiles of OUTPUTS; blocks of 256 threads.
//
// add, add_half: the sum of two tensors. A thread a value.
//   Raster<T> a, b, out                   [h, w, c]
// Grid: blocks of 32 x 8 threads over (h, w c).
//
// Each product of 4x4 reads eight values of shared memory; sums are fused (`fmaf`), tap by tap, channel by channel.
#include "../cuda/half.cuh"

const int MAX_INPUTS = 6;
const int THREADS = 256;
const int STEP = 16;
// What a thread makes, pixels and outputs.
const int SIDE = 4;
// Of a filter that activates what it reads.
const float SLOPE = 0.1f;

struct Convolution {
    // Read as one with all their channels.
    Raster<const float> inputs[MAX_INPUTS];
    // Added before the activation; null: none.
    Raster<const float> residual;
    // [ky][kx][channels][padded], then a bias and a slope for each of `padded` outputs.
    const float* weights;
    int count, channels, kernel, stride;
    // Rows and columns of taps above and to the left of a pixel.
    int top, left;
    // `padded` is a multiple of a tile's outputs.
    int outputs, padded;
    int leaky, reading;
};

// Where pixel `i` of the output reads; one beyond the last reads nothing.
__device__ int line_of(long long i, const Raster<float>& out) {
    return i < (long long)out.height * out.width ? (int)(i / out.width) : -(1 << 20);
}

template <int PIXELS, int OUTPUTS>
__device__ void convolve(const Convolution& job, const Raster<float>& out) {
    __shared__ float values[STEP][PIXELS + 1];
    __shared__ float weights[STEP][OUTPUTS];
    __shared__ int ys[PIXELS], xs[PIXELS];
    int t = (int)threadIdx.x;
    long long first = (long long)blockIdx.x * PIXELS;
    int from = (int)blockIdx.y * OUTPUTS;
    for (int i = t; i < PIXELS; i += THREADS) {
        ys[i] = line_of(first + i, out) * job.stride - job.top;
        xs[i] = (int)((first + i) % out.width) * job.stride - job.left;
    }
    int pixel = t / (OUTPUTS / SIDE) * SIDE, output = t % (OUTPUTS / SIDE) * SIDE;
    float sums[SIDE][SIDE] = {};
    for (int tap = 0; tap < job.kernel * job.kernel; tap++) {
        int ky = tap / job.kernel, kx = tap % job.kernel;
        const float* weight = job.weights + (long long)tap * job.channels * job.padded + from;
        for (int part = 0; part < job.count; part++) {
            const Raster<const float>& input = job.inputs[part];
            for (int c = 0; c < input.channels; c += STEP) {
                int step = min(STEP, input.channels - c);
                __syncthreads();
                for (int i = t; i < PIXELS * STEP; i += THREADS) {
                    int k = i % STEP, p = i / STEP, y = ys[p] + ky, x = xs[p] + kx;
                    float value = k < step && input.has(y, x) ? input.at(y, x)[c + k] : 0.0f;
                    values[k][p] = job.reading && value < 0.0f ? value * SLOPE : value;
                }
                for (int i = t; i < STEP * OUTPUTS; i += THREADS) {
                    int k = i / OUTPUTS, o = i % OUTPUTS;
                    weights[k][o] = k < step ? weight[(long long)(c + k) * job.padded + o] : 0.0f;
                }
                __syncthreads();
                for (int k = 0; k < STEP; k++)
                    for (int i = 0; i < SIDE; i++)
                        for (int o = 0; o < SIDE; o++)
                            sums[i][o] = fmaf(values[k][pixel + i], weights[k][output + o], sums[i][o]);
            }
            weight += (long long)input.channels * job.padded;
        }
    }
    const float* bias = job.weights + (long long)job.kernel * job.kernel * job.channels * job.padded;
    const float* slopes = bias + job.padded;
    for (int i = 0; i < SIDE; i++) {
        long long at = first + pixel + i;
        if (at >= (long long)out.height * out.width) return;
        int y = (int)(at / out.width), x = (int)(at % out.width);
        for (int j = 0; j < SIDE; j++) {
            int o = from + output + j;
            if (o >= job.outputs) break;
            float sum = sums[i][j] + bias[o];
            if (job.residual.data) sum += job.residual.at(y, x)[o];
            out.at(y, x)[o] = job.leaky && sum < 0.0f ? sum * slopes[o] : sum;
        }
    }
}

KERNEL convolve_wide(Convolution job, Raster<float> out) { convolve<64, 64>(job, out); }
EXPORT_COOPERATIVE(convolve_wide)

KERNEL convolve_narrow(Convolution job, Raster<float> out) { convolve<256, 16>(job, out); }
EXPORT_COOPERATIVE(convolve_narrow)

template <class T>
__device__ void sum(const Raster<T>& a, const Raster<T>& b, const Raster<T>& out) {
    int y = row(), x = column() / out.channels, c = column() % out.channels;
    if (!out.has(y, x)) return;
    write(out.at(y, x) + c, read(a.at(y, x) + c) + read(b.at(y, x) + c));
}

KERNEL add(Raster<float> a, Raster<float> b, Raster<float> out) { sum(a, b, out); }
EXPORT(add)

KERNEL add_half(Raster<__half> a, Raster<__half> b, Raster<__half> out) { sum(a, b, out); }
EXPORT(add_half)
