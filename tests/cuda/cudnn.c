/* A libcudnn.so.9 for the tests, beside driver.c: convolutions of 16 bits, NHWC, in plain loops on the host. What it does comes from the
   environment:

     CUDNN_VERSION  its number, as 91002; that unless it is set
     CUDNN_FAILS    create, algorithms or forward: what answers with an error; nothing
     CUDNN_LEAST    channels of an input below which it has no way to compute; 0
     CUDNN_SLOW     milliseconds that each convolution takes at least; 0

   What is to be computed is queued in the driver's stream. A convolution needs a workspace, whose bytes it overwrites. */
#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { SUCCESS = 0, BAD_PARAM = 2000, NOT_SUPPORTED = 3000, EXECUTION_FAILED = 5000 };
enum { NHWC = 1, FLOAT = 0, HALF = 2, CROSS_CORRELATION = 1, TENSOR_OPS = 1 };
enum { IMPLICIT_GEMM = 0, IMPLICIT_PRECOMPUTED_GEMM = 1, WORKSPACE = 4096 };

static long number(const char *name, long otherwise) {
  const char *text = getenv(name);
  return text ? atol(text) : otherwise;
}
static int fails(const char *what) {
  const char *text = getenv("CUDNN_FAILS");
  return text && !strcmp(text, what);
}

struct handle {
  void *stream;
};
/* Of a tensor: n, c, h, w; of a filter: outputs, inputs, h, w. */
struct tensor {
  int type, format, sizes[4];
};
struct convolution {
  int pad[2], stride[2], mode, type, math;
};

size_t cudnnGetVersion(void) { return number("CUDNN_VERSION", 91002); }
const char *cudnnGetErrorString(int status) { return "as the test wants it"; }
int cudnnCreate(struct handle **handle) {
  if (fails("create")) return EXECUTION_FAILED;
  *handle = calloc(1, sizeof **handle);
  return SUCCESS;
}
int cudnnDestroy(struct handle *handle) { free(handle); return SUCCESS; }
int cudnnSetStream(struct handle *handle, void *stream) { handle->stream = stream; return SUCCESS; }
int cudnnCreateTensorDescriptor(struct tensor **tensor) { *tensor = calloc(1, sizeof **tensor); return SUCCESS; }
int cudnnDestroyTensorDescriptor(struct tensor *tensor) { free(tensor); return SUCCESS; }
int cudnnSetTensor4dDescriptor(struct tensor *tensor, int format, int type, int n, int c, int h, int w) {
  *tensor = (struct tensor){type, format, {n, c, h, w}};
  return n > 0 && c > 0 && h > 0 && w > 0 ? SUCCESS : BAD_PARAM;
}
int cudnnCreateFilterDescriptor(struct tensor **filter) { return cudnnCreateTensorDescriptor(filter); }
int cudnnDestroyFilterDescriptor(struct tensor *filter) { return cudnnDestroyTensorDescriptor(filter); }
int cudnnSetFilter4dDescriptor(struct tensor *filter, int type, int format, int outputs, int inputs, int h, int w) {
  return cudnnSetTensor4dDescriptor(filter, format, type, outputs, inputs, h, w);
}
int cudnnCreateConvolutionDescriptor(struct convolution **convolution) {
  *convolution = calloc(1, sizeof **convolution);
  return SUCCESS;
}
int cudnnDestroyConvolutionDescriptor(struct convolution *convolution) { free(convolution); return SUCCESS; }
int cudnnSetConvolution2dDescriptor(struct convolution *convolution, int pad_h, int pad_w, int u, int v, int dilation_h, int dilation_w,
                                    int mode, int type) {
  *convolution = (struct convolution){{pad_h, pad_w}, {u, v}, mode, type, 0};
  return dilation_h == 1 && dilation_w == 1 ? SUCCESS : NOT_SUPPORTED;
}
int cudnnSetConvolutionMathType(struct convolution *convolution, int math) { convolution->math = math; return SUCCESS; }

/* Whether it has tensor cores for this, and the sizes fit. */
static int has(const struct tensor *x, const struct tensor *w, const struct convolution *c, const struct tensor *y) {
  const struct tensor *all[] = {x, w, y};
  for (int i = 0; i < 3; i++)
    if (all[i]->type != HALF || all[i]->format != NHWC) return 0;
  int is_whole = x->sizes[1] % 8 == 0 && y->sizes[1] % 8 == 0 && x->sizes[1] >= number("CUDNN_LEAST", 0);
  int fits = w->sizes[0] == y->sizes[1] && w->sizes[1] == x->sizes[1] && x->sizes[0] == 1 && y->sizes[0] == 1;
  for (int i = 0; i < 2; i++) fits &= y->sizes[2 + i] == (x->sizes[2 + i] + 2 * c->pad[i] - w->sizes[2 + i]) / c->stride[i] + 1;
  return is_whole && fits && c->mode == CROSS_CORRELATION && c->type == FLOAT;
}

struct performance {
  int algorithm, status;
  float time;
  size_t memory;
  int determinism, math, reserved[3];
};
/* The first one it has not, the second one needs too much. */
int cudnnGetConvolutionForwardAlgorithm_v7(struct handle *handle, struct tensor *x, struct tensor *w, struct convolution *c,
                                           struct tensor *y, int asked, int *found, struct performance *all) {
  if (fails("algorithms")) return EXECUTION_FAILED;
  if (asked < 3 || c->math != TENSOR_OPS) return BAD_PARAM;
  int can = has(x, w, c, y) ? SUCCESS : NOT_SUPPORTED;
  all[0] = (struct performance){7, NOT_SUPPORTED, -1, 0, 0, TENSOR_OPS, {0}};
  all[1] = (struct performance){IMPLICIT_GEMM, can, 1, (size_t)1 << 40, 0, TENSOR_OPS, {0}};
  all[2] = (struct performance){IMPLICIT_PRECOMPUTED_GEMM, can, 2, WORKSPACE, 0, TENSOR_OPS, {0}};
  *found = 3;
  return SUCCESS;
}
int cudnnGetConvolutionForwardWorkspaceSize(struct handle *handle, struct tensor *x, struct tensor *w, struct convolution *c,
                                            struct tensor *y, int algorithm, size_t *bytes) {
  *bytes = algorithm == IMPLICIT_GEMM ? (size_t)1 << 40 : WORKSPACE;
  return has(x, w, c, y) && algorithm <= IMPLICIT_PRECOMPUTED_GEMM ? SUCCESS : NOT_SUPPORTED;
}

/* Descriptors may be gone before it is done. */
struct job {
  struct tensor x, w, y;
  struct convolution c;
  const _Float16 *from, *weights;
  _Float16 *to;
  char *workspace;
};

/* The same in floats. */
static float *widened(const _Float16 *values, const struct tensor *of) {
  size_t count = (size_t)of->sizes[0] * of->sizes[1] * of->sizes[2] * of->sizes[3];
  float *wide = malloc(count * sizeof *wide);
  for (size_t i = 0; i < count; i++) wide[i] = (float)values[i];
  return wide;
}

/* Adds to all outputs of a pixel what one tap makes; weights as [inputs][outputs]. */
static void add(float *sums, const float *from, const float *weights, int inputs, int outputs) {
  for (int i = 0; i < inputs; i++)
    for (int o = 0; o < outputs; o++) sums[o] += from[i] * weights[(size_t)i * outputs + o];
}

/* From [outputs][taps][inputs] to [taps][inputs][outputs]. */
static float *turned(float *weights, int outputs, int rest) {
  float *to = malloc((size_t)outputs * rest * sizeof *to);
  for (int o = 0; o < outputs; o++)
    for (int i = 0; i < rest; i++) to[(size_t)i * outputs + o] = weights[(size_t)o * rest + i];
  free(weights);
  return to;
}

static void compute(void *argument) {
  struct job *job = argument;
  int outputs = job->w.sizes[0], inputs = job->w.sizes[1], kh = job->w.sizes[2], kw = job->w.sizes[3];
  int h = job->x.sizes[2], w = job->x.sizes[3];
  float *from = widened(job->from, &job->x), *weights = turned(widened(job->weights, &job->w), outputs, kh * kw * inputs);
  float *sums = malloc(outputs * sizeof *sums);
  memset(job->workspace, 0x7f, WORKSPACE);
  for (int i = 0; i < job->y.sizes[2] * job->y.sizes[3]; i++) {
    memset(sums, 0, outputs * sizeof *sums);
    int top = i / job->y.sizes[3] * job->c.stride[0] - job->c.pad[0], left = i % job->y.sizes[3] * job->c.stride[1] - job->c.pad[1];
    for (int tap = 0; tap < kh * kw; tap++) {
      int y = top + tap / kw, x = left + tap % kw;
      if (y < 0 || y >= h || x < 0 || x >= w) continue;
      add(sums, from + ((size_t)y * w + x) * inputs, weights + (size_t)tap * inputs * outputs, inputs, outputs);
    }
    for (int o = 0; o < outputs; o++) job->to[(size_t)i * outputs + o] = (_Float16)sums[o];
  }
  free(sums);
  free(weights);
  free(from);
  free(job);
  usleep(1000 * number("CUDNN_SLOW", 0));
}

int cudnnConvolutionForward(struct handle *handle, const float *alpha, struct tensor *x, const _Float16 *from, struct tensor *w,
                            const _Float16 *weights, struct convolution *c, int algorithm, void *workspace, size_t bytes,
                            const float *beta, struct tensor *y, _Float16 *to) {
  int (*queue)(void *, void (*)(void *), void *) = dlsym(dlopen("libcuda.so.1", RTLD_NOW), "cuLaunchHostFunc");
  int is_aligned = ((size_t)from | (size_t)weights | (size_t)to) % 16 == 0;
  if (fails("forward")) return EXECUTION_FAILED;
  if (algorithm != IMPLICIT_PRECOMPUTED_GEMM || c->math != TENSOR_OPS || !has(x, w, c, y)) return NOT_SUPPORTED;
  if (*alpha != 1 || *beta != 0 || !workspace || bytes != WORKSPACE || !is_aligned) return BAD_PARAM;
  struct job *job = malloc(sizeof *job);
  *job = (struct job){*x, *w, *y, *c, from, weights, to, workspace};
  return queue(handle->stream, compute, job) ? EXECUTION_FAILED : SUCCESS;
}
