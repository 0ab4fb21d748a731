/* A libcuda.so.1 for the tests: no card is behind it. What it says of itself comes from the environment:

     DRIVER_VERSION     CUDA that it is for, as 13000; what is wanted unless it is set
     DRIVER_CARDS       how many there are; 1. CUDA_VISIBLE_DEVICES set to nothing hides them
     DRIVER_CAPABILITY  of each card, as 75; 90
     DRIVER_MEMORY      bytes of a card; unlimited
     DRIVER_FAILS       the number of the launch that fails, and all that follows it; none
     DRIVER_KERNELS     a folder of kernels compiled for the host (src/kernels/cuda/host.hpp), which launches run;
                        where there are none, launches do nothing
     DRIVER_REPORT      a file that the numbers of this process are written to as it ends, see report()

   Memory of the card is the host's. What is queued in a stream is done as late as can be, when somebody waits for it: where a
   wait is missing, bytes are wrong. Of the host's memory the driver reads and writes what is page-locked as late, too, and all
   other before the call returns, as a real one does. Without DRIVER_KERNELS no module loads. */
#include <dirent.h>
#include <dlfcn.h>
#include <malloc.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SUCCESS = 0, INVALID_VALUE = 1, OUT_OF_MEMORY = 2, NO_DEVICE = 100, INVALID_DEVICE = 101, INVALID_CONTEXT = 201,
       UNSUPPORTED_PTX = 222, NOT_FOUND = 500, LAUNCH_FAILED = 719 };
enum { CAPABILITY_MAJOR = 75, CAPABILITY_MINOR = 76, MEMORY_POOLS = 115 };
/* What memory holds that was not written, or has been freed. */
enum { GARBAGE = 0x7f };

typedef unsigned long long address;
typedef int (*emulate_function)(const char *, const unsigned[3], const unsigned[3], void **);
typedef int (*parameters_function)(const char *, size_t[]);

static long number(const char *name, long otherwise) {
  const char *text = getenv(name);
  return text ? atol(text) : otherwise;
}

static int cards(void) {
  const char *visible = getenv("CUDA_VISIBLE_DEVICES");
  return visible && !*visible ? 0 : (int)number("DRIVER_CARDS", 1);
}

/* Guards all that follows. */
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static void lock(void) { pthread_mutex_lock(&mutex); }
static int unlock(int result) {
  pthread_mutex_unlock(&mutex);
  return result;
}

/* Of the first launch that failed on. */
static int failed;

static size_t used, peak;
static long allocations, locked, up, down, uploads, downloads, waits, launches, graphs, replays, contexts, calls;
/* Of rows: to the card, from it, within it. */
static long planes[3], between;

/* Bytes of the card at most; allocations of the card's memory and of page-locked memory; bytes copied to the card and from it, in
   how many copies; how often somebody waited; launches, those of graphs
   with them; graphs that were made, and how often one was launched. Of copies of rows, which are none of the former, those to the card, from it and within it,
   and of these between contexts; contexts that were created; calls of what runs on the host. */
__attribute__((destructor)) static void report(void) {
  const char *path = getenv("DRIVER_REPORT");
  FILE *file = path && allocations ? fopen(path, "w") : NULL;
  if (!file) return;
  fprintf(file, "peak %zu\nallocations %ld\nlocked %ld\nup %ld\ndown %ld\nuploads %ld\ndownloads %ld\nwaits %ld\nlaunches %ld\n"
          "graphs %ld\nreplays %ld\nplanes up %ld\nplanes down %ld\nplanes within %ld\nbetween %ld\ncontexts %ld\ncalls %ld\n",
          peak, allocations, locked, up, down, uploads, downloads, waits, launches, graphs, replays, planes[0], planes[1], planes[2],
          between, contexts, calls);
  fclose(file);
}

int cuDriverGetVersion(int *version) { *version = (int)number("DRIVER_VERSION", 13000); return SUCCESS; }
int cuInit(unsigned flags) { return cards() ? SUCCESS : NO_DEVICE; }
int cuDeviceGetCount(int *count) { *count = cards(); return SUCCESS; }
int cuDeviceGet(int *device, int ordinal) {
  *device = ordinal;
  return ordinal < cards() ? SUCCESS : INVALID_DEVICE;
}
int cuDeviceGetName(char *name, int length, int device) { snprintf(name, length, "Test card"); return SUCCESS; }
int cuDeviceGetAttribute(int *value, int attribute, int device) {
  long capability = number("DRIVER_CAPABILITY", 90);
  switch (attribute) {
    case CAPABILITY_MAJOR: *value = capability / 10; break;
    case CAPABILITY_MINOR: *value = capability % 10; break;
    default: *value = attribute == MEMORY_POOLS;
  }
  return SUCCESS;
}

/* Each has a stream that is used where none is named. */
struct context {
  struct stream *unnamed;
};
static struct stream *new_stream(struct context *context, int waits_for_unnamed);

/* Of a thread; the last is current. */
enum { MOST_CURRENT = 16 };
static __thread struct context *stack[MOST_CURRENT];
static __thread int depth;
static struct context *current(void) { return depth ? stack[depth - 1] : NULL; }

static struct context *new_context(void) {
  struct context *context = calloc(1, sizeof *context);
  context->unnamed = new_stream(context, 1);
  return context;
}
static struct context *primary(void) {
  static struct context *one;
  if (!one) one = new_context();
  return one;
}
/* Of a card without any memory there is no context. */
int cuDevicePrimaryCtxRetain(struct context **context, int device) {
  lock();
  if (!number("DRIVER_MEMORY", 1)) return unlock(OUT_OF_MEMORY);
  *context = primary();
  return unlock(SUCCESS);
}
/* DRIVER_IS_USED: another library of the process has the context already. */
int cuDevicePrimaryCtxGetState(int device, unsigned *flags, int *active) {
  *flags = 0;
  *active = number("DRIVER_IS_USED", 0) != 0;
  return SUCCESS;
}
int cuDevicePrimaryCtxRelease_v2(int device) { return SUCCESS; }
int cuCtxSetCurrent(struct context *context) {
  if (!depth) depth = 1;
  stack[depth - 1] = context;
  return SUCCESS;
}
int cuCtxGetCurrent(struct context **context) { *context = current(); return SUCCESS; }
int cuCtxPushCurrent_v2(struct context *context) {
  if (depth == MOST_CURRENT) return INVALID_CONTEXT;
  stack[depth++] = context;
  return SUCCESS;
}
int cuCtxPopCurrent_v2(struct context **context) {
  if (!depth) return INVALID_CONTEXT;
  if (context) *context = current();
  depth--;
  return SUCCESS;
}
int cuCtxCreate_v2(struct context **context, unsigned flags, int device) {
  lock();
  contexts++;
  *context = new_context();
  return unlock(cuCtxPushCurrent_v2(*context));
}
/* It is never freed: nothing of it is used any more. */
int cuCtxDestroy_v2(struct context *context) { return SUCCESS; }
int cuDeviceCanAccessPeer(int *can, int device, int peer) { *can = 0; return SUCCESS; }
int cuCtxEnablePeerAccess(struct context *peer, unsigned flags) { return INVALID_CONTEXT; }
int cuCtxDisablePeerAccess(struct context *peer) { return INVALID_CONTEXT; }
int cuGetErrorString(int error, const char **text) { *text = "as the test wants it"; return SUCCESS; }
int cuGetErrorName(int error, const char **text) { *text = "error"; return SUCCESS; }

/* What a stream is to do. */
struct stream;
enum { MOST_ARGUMENTS = 64 };
struct work {
  struct work *next;
  /* with what belongs to it */
  size_t size;
  enum { LAUNCH, COPY, FILL, FREE, WAIT, CALL } kind;
  union {
    struct {
      emulate_function run;
      const char *name;
      unsigned grid[3], block[3];
      int count;
      /* of each argument, from `rest` on */
      size_t at[MOST_ARGUMENTS];
    } launch;
    struct {
      enum { UP, DOWN, WITHIN } way;
      /* none: what lies in `rest` */
      const char *from;
      char *to;
      size_t bytes;
      /* where they are many they lie so far apart; none: the bytes are one piece */
      size_t rows, from_pitch, to_pitch;
    } copy;
    struct {
      char *to;
      unsigned char value;
      size_t bytes;
    } fill;
    char *freed;
    struct {
      struct stream *stream;
      long until;
    } wait;
    struct {
      void (*function)(void *);
      void *argument;
    } call;
  };
  char rest[];
};

/* Launches, each with those that it waits for. */
struct node {
  struct work *work;
  struct node **behind;
  size_t waits_for;
  int is_queued;
  struct node *before;
};
struct graph {
  struct node *last;
};

/* How much of a stream was queued, and is done; what is not. */
struct stream {
  struct context *context;
  /* what is queued in the context's unnamed stream waits for what was queued here, and the other way round */
  int waits_for_unnamed;
  long queued, done;
  struct work *first, **last;
  struct stream *next;
};
static struct stream *streams;

static struct work *new_work(int kind, size_t rest) {
  struct work *work = calloc(1, sizeof *work + rest);
  work->kind = kind;
  work->size = sizeof *work + rest;
  return work;
}

static void queue(struct stream *stream, struct work *work) {
  *stream->last = work;
  stream->last = &work->next;
  stream->queued++;
}

static void release(char *memory) {
  memset(memory, GARBAGE, malloc_usable_size(memory));
  free(memory);
}

static void run_until(struct stream *stream, long until);

static void launch(struct work *work) {
  void *arguments[MOST_ARGUMENTS];
  for (int i = 0; i < work->launch.count; i++) arguments[i] = work->rest + work->launch.at[i];
  if (++launches == number("DRIVER_FAILS", -1)) failed = LAUNCH_FAILED;
  if (!failed && work->launch.run) work->launch.run(work->launch.name, work->launch.grid, work->launch.block, arguments);
}

static void copy_rows(struct work *work) {
  for (size_t y = 0; y < work->copy.rows; y++)
    memcpy(work->copy.to + y * work->copy.to_pitch, work->copy.from + y * work->copy.from_pitch, work->copy.bytes);
  planes[work->copy.way]++;
}

static void copy(struct work *work) {
  if (work->copy.rows) {
    copy_rows(work);
    return;
  }
  memcpy(work->copy.to, work->copy.from ? work->copy.from : work->rest, work->copy.bytes);
  if (work->copy.way == UP) up += work->copy.bytes, uploads++;
  if (work->copy.way == DOWN) down += work->copy.bytes, downloads++;
}

/* Once a launch has failed nothing is done but freeing. */
static void run(struct work *work) {
  switch (work->kind) {
    case LAUNCH: if (!failed) launch(work); break;
    case COPY: if (!failed) copy(work); break;
    case FILL: if (!failed) memset(work->fill.to, work->fill.value, work->fill.bytes); break;
    case FREE: release(work->freed); break;
    case WAIT: run_until(work->wait.stream, work->wait.until); break;
    case CALL: calls++, work->call.function(work->call.argument);
  }
}

static void run_until(struct stream *stream, long until) {
  while (stream->done < until) {
    struct work *work = stream->first;
    stream->first = work->next;
    if (!stream->first) stream->last = &stream->first;
    run(work);
    free(work);
    stream->done++;
  }
}

/* Somebody waits; what was done long ago is no wait. */
static void wait_until(struct stream *stream, long until) {
  waits += stream->done < until;
  run_until(stream, until);
}

static struct stream *new_stream(struct context *context, int waits_for_unnamed) {
  struct stream *stream = calloc(1, sizeof *stream);
  stream->context = context;
  stream->waits_for_unnamed = waits_for_unnamed;
  stream->last = &stream->first;
  stream->next = streams;
  streams = stream;
  return stream;
}

int cuStreamCreate(struct stream **out, unsigned flags) {
  enum { NON_BLOCKING = 1 };
  if (!current()) return INVALID_CONTEXT;
  lock();
  *out = new_stream(current(), !(flags & NON_BLOCKING));
  return unlock(SUCCESS);
}
/* It is never freed: others may wait for what was in it. */
int cuStreamDestroy_v2(struct stream *stream) {
  lock();
  run_until(stream, stream->queued);
  return unlock(SUCCESS);
}
int cuStreamDestroy(struct stream *stream) { return cuStreamDestroy_v2(stream); }

/* The stream that is meant, once what the unnamed one waits for is done; none if it is not of the current context. */
static struct stream *named(struct stream *stream) {
  if (!current()) return NULL;
  if (stream) return stream->context == current() ? stream : NULL;
  for (struct stream *other = streams; other; other = other->next)
    if (other->context == current() && other->waits_for_unnamed) run_until(other, other->queued);
  return current()->unnamed;
}

int cuStreamSynchronize(struct stream *stream) {
  lock();
  if (!stream && !(stream = named(NULL))) return unlock(INVALID_CONTEXT);
  wait_until(stream, stream->queued);
  return unlock(failed);
}
int cuStreamIsCapturing(struct stream *stream, int *capturing) { *capturing = 0; return SUCCESS; }
int cuGraphCreate(struct graph **graph, unsigned flags) {
  *graph = calloc(1, sizeof **graph);
  return SUCCESS;
}
/* The one that is launched is the graph itself: it is destroyed with both. */
int cuGraphInstantiateWithFlags(struct graph **runs, struct graph *graph, unsigned long long flags) {
  lock();
  *runs = graph;
  graphs++;
  return unlock(failed);
}
int cuGraphExecDestroy(struct graph *graph) { return SUCCESS; }
int cuGraphDestroy(struct graph *graph) {
  while (graph->last) {
    struct node *node = graph->last;
    graph->last = node->before;
    free(node->work);
    free(node->behind);
    free(node);
  }
  free(graph);
  return SUCCESS;
}
static int is_ready(const struct node *node) {
  for (size_t i = 0; i < node->waits_for; i++)
    if (!node->behind[i]->is_queued) return 0;
  return !node->is_queued;
}
/* Of all that may run the one that was added last runs first, so that a missing wait shows. */
int cuGraphLaunch(struct graph *graph, struct stream *stream) {
  lock();
  replays++;
  for (struct node *node = graph->last; node; node = node->before) node->is_queued = 0;
  for (struct node *node = graph->last; node;) {
    if (!is_ready(node)) {
      node = node->before;
      continue;
    }
    struct work *work = node->work, *again = memcpy(new_work(work->kind, work->size - sizeof *work), work, work->size);
    again->next = NULL;
    queue(stream, again);
    node->is_queued = 1;
    node = graph->last;
  }
  return unlock(failed);
}
int cuCtxSynchronize(void) {
  lock();
  for (struct stream *stream = streams; stream; stream = stream->next) wait_until(stream, stream->queued);
  return unlock(failed);
}

/* How far a stream had got as the event was recorded; none while it was not. */
struct event {
  struct stream *stream;
  long until;
};
int cuEventCreate(struct event **event, unsigned flags) {
  *event = calloc(1, sizeof **event);
  return SUCCESS;
}
int cuEventDestroy_v2(struct event *event) { free(event); return SUCCESS; }
int cuEventRecord(struct event *event, struct stream *stream) {
  lock();
  event->stream = stream;
  event->until = stream->queued;
  return unlock(failed);
}
int cuEventSynchronize(struct event *event) {
  lock();
  if (event->stream) wait_until(event->stream, event->until);
  return unlock(failed);
}
/* Milliseconds: what was queued between them. */
int cuEventElapsedTime_v2(float *time, struct event *start, struct event *end) {
  lock();
  *time = end->until - start->until;
  return unlock(failed);
}
int cuStreamWaitEvent(struct stream *stream, struct event *event, unsigned flags) {
  lock();
  if (event->stream) {
    struct work *work = new_work(WAIT, 0);
    work->wait.stream = event->stream;
    work->wait.until = event->until;
    queue(stream, work);
  }
  return unlock(failed);
}

/* The stand-in for cuDNN computes so. It is called whatever has failed: what it was given is its own to free. */
int cuLaunchHostFunc(struct stream *stream, void (*function)(void *), void *argument) {
  lock();
  if (!(stream = named(stream))) return unlock(INVALID_CONTEXT);
  struct work *work = new_work(CALL, 0);
  work->call.function = function;
  work->call.argument = argument;
  queue(stream, work);
  return unlock(failed);
}

int cuMemAllocAsync(address *to, size_t bytes, struct stream *stream) {
  const char *most = getenv("DRIVER_MEMORY");
  char *memory = malloc(bytes + !bytes);
  lock();
  used += malloc_usable_size(memory);
  if (most && used > strtoull(most, NULL, 10)) {
    used -= malloc_usable_size(memory);
    free(memory);
    return unlock(OUT_OF_MEMORY);
  }
  if (used > peak) peak = used;
  allocations++;
  memset(memory, GARBAGE, bytes);
  *to = (address)memory;
  return unlock(failed);
}
int cuMemFreeAsync(address memory, struct stream *stream) {
  lock();
  if (!(stream = named(stream))) return unlock(INVALID_CONTEXT);
  struct work *work = new_work(FREE, 0);
  work->freed = (char *)memory;
  queue(stream, work);
  /* what comes behind it in the stream may have it */
  used -= malloc_usable_size(work->freed);
  return unlock(failed);
}
/* What is reserved is what is used; of the card nobody else has anything. */
enum { RESERVED = 5, USED = 7, USED_AT_MOST = 8 };
int cuMemGetInfo_v2(size_t *left, size_t *total) {
  lock();
  *total = number("DRIVER_MEMORY", 1L << 40);
  *left = *total - used;
  return unlock(SUCCESS);
}
int cuDeviceGetDefaultMemPool(void **pool, int device) {
  static int one;
  *pool = &one;
  return SUCCESS;
}
int cuMemPoolGetAttribute(void *pool, int attribute, unsigned long long *value) {
  lock();
  *value = attribute == USED_AT_MOST ? peak : used;
  return unlock(attribute == RESERVED || attribute == USED || attribute == USED_AT_MOST ? SUCCESS : INVALID_VALUE);
}
/* Of the stack alone. */
static size_t stack_limit = 1024;
int cuCtxGetLimit(size_t *value, int limit) {
  *value = stack_limit;
  return limit ? INVALID_VALUE : SUCCESS;
}
int cuCtxSetLimit(int limit, size_t value) {
  stack_limit = value;
  return limit ? INVALID_VALUE : SUCCESS;
}
int cuMemsetD8Async(address to, unsigned char value, size_t bytes, struct stream *stream) {
  lock();
  if (!(stream = named(stream))) return unlock(INVALID_CONTEXT);
  struct work *work = new_work(FILL, 0);
  work->fill.to = (char *)to;
  work->fill.value = value;
  work->fill.bytes = bytes;
  queue(stream, work);
  return unlock(failed);
}

/* Page-locked memory. */
struct locked {
  char *first;
  size_t bytes;
  struct locked *next;
};
static struct locked *all_locked;

static struct locked **find_locked(const char *memory) {
  struct locked **place = &all_locked;
  while (*place && !(memory >= (*place)->first && memory < (*place)->first + (*place)->bytes)) place = &(*place)->next;
  return place;
}

int cuMemHostAlloc(void **to, size_t bytes, unsigned flags) {
  enum { PAGE = 4096 };
  if (!current()) return INVALID_CONTEXT;
  struct locked *new = calloc(1, sizeof *new);
  *new = (struct locked){aligned_alloc(PAGE, (bytes + PAGE - 1) / PAGE * PAGE), bytes, NULL};
  memset(new->first, GARBAGE, bytes);
  lock();
  new->next = all_locked;
  all_locked = new;
  locked++;
  *to = new->first;
  return unlock(SUCCESS);
}
/* Whoever frees it has waited for what was queued with it. */
int cuMemFreeHost(char *memory) {
  if (!current()) return INVALID_CONTEXT;
  lock();
  struct locked **place = find_locked(memory), *old = *place;
  for (struct stream *stream = streams; stream; stream = stream->next)
    for (struct work *work = stream->first; work; work = work->next)
      if (work->kind == COPY && (find_locked(work->copy.from) == place || find_locked(work->copy.to) == place)) {
        fprintf(stderr, "page-locked memory is freed that is still to be copied\n");
        abort();
      }
  *place = old->next;
  release(old->first);
  free(old);
  return unlock(SUCCESS);
}

static struct work *queue_copy(struct stream *stream, int way, char *to, const char *from, size_t rest, size_t bytes) {
  struct work *work = new_work(COPY, rest);
  work->copy.way = way;
  work->copy.to = to;
  work->copy.from = from;
  work->copy.bytes = bytes;
  queue(stream, work);
  return work;
}
int cuMemcpyHtoDAsync_v2(address to, const void *from, size_t bytes, struct stream *stream) {
  lock();
  if (!(stream = named(stream))) return unlock(INVALID_CONTEXT);
  if (*find_locked(from))
    queue_copy(stream, UP, (char *)to, from, 0, bytes);
  else
    memcpy(queue_copy(stream, UP, (char *)to, NULL, bytes, bytes)->rest, from, bytes);
  return unlock(failed);
}
int cuMemcpyDtoHAsync_v2(void *to, address from, size_t bytes, struct stream *stream) {
  lock();
  if (!(stream = named(stream))) return unlock(INVALID_CONTEXT);
  queue_copy(stream, DOWN, to, (const char *)from, 0, bytes);
  if (!*find_locked(to)) wait_until(stream, stream->queued);
  return unlock(failed);
}
int cuMemcpyDtoDAsync_v2(address to, address from, size_t bytes, struct stream *stream) {
  lock();
  if (!(stream = named(stream))) return unlock(INVALID_CONTEXT);
  queue_copy(stream, WITHIN, (char *)to, (const char *)from, 0, bytes);
  return unlock(failed);
}

int cuModuleLoadData(void **module, const void *image) {
  static int one;
  *module = &one;
  return getenv("DRIVER_KERNELS") ? SUCCESS : UNSUPPORTED_PTX;
}
int cuModuleUnload(void *module) { return SUCCESS; }
/* A function is its name. */
int cuModuleGetFunction(void **function, void *module, const char *name) {
  *function = strdup(name);
  return SUCCESS;
}

static struct {
  emulate_function emulate;
  parameters_function parameters;
} libraries[64];
static int count = -1;

static void load(void) {
  const char *folder = getenv("DRIVER_KERNELS");
  DIR *files = opendir(folder);
  struct dirent *file;
  count = 0;
  while (files && (file = readdir(files))) {
    char path[4096];
    if (!strstr(file->d_name, ".so")) continue;
    snprintf(path, sizeof path, "%s/%s", folder, file->d_name);
    void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (!library || count == 64) continue;
    libraries[count].emulate = (emulate_function)dlsym(library, "emulate");
    libraries[count++].parameters = (parameters_function)dlsym(library, "parameters");
  }
  if (files) closedir(files);
}

/* A launch with a copy of its arguments; none if there is no such kernel. */
static struct work *new_launch(const char *name, void **arguments) {
  size_t sizes[MOST_ARGUMENTS], bytes = 0;
  int found = 0, parameters = -1;
  if (count < 0) load();
  if (!count) return new_work(LAUNCH, 0);
  while (found < count && (parameters = libraries[found].parameters(name, sizes)) < 0) found++;
  if (parameters < 0 || parameters > MOST_ARGUMENTS) return NULL;
  /* each begins at a multiple of 16 */
  for (int i = 0; i < parameters; i++) bytes += (sizes[i] + 15) / 16 * 16;
  struct work *work = new_work(LAUNCH, bytes + 16);
  work->launch.run = libraries[found].emulate;
  work->launch.name = name;
  work->launch.count = parameters;
  size_t at = 16 - (size_t)work->rest % 16;
  for (int i = 0; i < parameters; i++, at += (sizes[i - 1] + 15) / 16 * 16) {
    work->launch.at[i] = at;
    memcpy(work->rest + at, arguments[i], sizes[i]);
  }
  return work;
}

/* As CUDA_KERNEL_NODE_PARAMS_v2 begins. */
struct node_parameters {
  void *function;
  unsigned grid[3], block[3], shared;
  void **arguments;
};
int cuGraphAddKernelNode_v2(struct node **out, struct graph *graph, struct node *const *behind, size_t count,
                            const struct node_parameters *parameters) {
  lock();
  struct work *work = new_launch(parameters->function, parameters->arguments);
  if (!work) return unlock(NOT_FOUND);
  memcpy(work->launch.grid, parameters->grid, sizeof work->launch.grid);
  memcpy(work->launch.block, parameters->block, sizeof work->launch.block);
  struct node *node = calloc(1, sizeof *node);
  node->work = work;
  node->behind = memcpy(malloc(count * sizeof *behind + 1), behind, count * sizeof *behind);
  node->waits_for = count;
  node->before = graph->last;
  *out = graph->last = node;
  return unlock(failed);
}

int cuLaunchKernel(void *function, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by, unsigned bz,
                   unsigned shared, struct stream *stream, void **arguments, void **extra) {
  lock();
  if (!(stream = named(stream))) return unlock(INVALID_CONTEXT);
  struct work *work = new_launch(function, arguments);
  if (!work) return unlock(NOT_FOUND);
  memcpy(work->launch.grid, (unsigned[]){gx, gy, gz}, sizeof work->launch.grid);
  memcpy(work->launch.block, (unsigned[]){bx, by, bz}, sizeof work->launch.block);
  queue(stream, work);
  return unlock(failed);
}

/* Memory that is not of a stream, as GStreamer's library has it: in a context, rows apart by a multiple of so much. */
enum { PITCH = 512 };
struct allocated {
  char *first;
  size_t bytes;
  struct context *context;
  struct allocated *next;
};
static struct allocated *all_allocated;

static struct allocated **find_allocated(address memory) {
  struct allocated **place = &all_allocated;
  while (*place && !(memory >= (address)(*place)->first && memory < (address)(*place)->first + (*place)->bytes))
    place = &(*place)->next;
  return place;
}

int cuMemAlloc_v2(address *to, size_t bytes) {
  if (!current()) return INVALID_CONTEXT;
  struct allocated *new = calloc(1, sizeof *new);
  *new = (struct allocated){malloc(bytes), bytes, current(), NULL};
  memset(new->first, GARBAGE, bytes);
  lock();
  new->next = all_allocated;
  all_allocated = new;
  *to = (address)new->first;
  return unlock(SUCCESS);
}
int cuMemAllocPitch_v2(address *to, size_t *pitch, size_t width, size_t height, unsigned element) {
  *pitch = (width + PITCH - 1) / PITCH * PITCH;
  return cuMemAlloc_v2(to, *pitch * height);
}
/* It waits for all that is queued. */
int cuMemFree_v2(address memory) {
  lock();
  for (struct stream *stream = streams; stream; stream = stream->next) run_until(stream, stream->queued);
  struct allocated **place = find_allocated(memory), *old = *place;
  if (!old) return unlock(INVALID_VALUE);
  *place = old->next;
  release(old->first);
  free(old);
  return unlock(SUCCESS);
}
int cuMemAllocHost_v2(void **to, size_t bytes) { return cuMemHostAlloc(to, bytes, 0); }
int cuMemAllocHost(void **to, size_t bytes) { return cuMemAllocHost_v2(to, bytes); }

int cuPointerGetAttribute(void *value, int attribute, address memory) {
  enum { CONTEXT = 1 };
  lock();
  struct allocated *found = *find_allocated(memory);
  if (!found || attribute != CONTEXT) return unlock(INVALID_VALUE);
  *(struct context **)value = found->context;
  return unlock(SUCCESS);
}

/* A side of a copy of rows, as in the driver's structures. */
enum { HOST = 1, DEVICE = 2 };
struct side {
  int type;
  char *memory;
  size_t pitch;
};

/* Whether the card may touch the memory in this context. */
static int is_reached(const struct side *side, struct context *context) {
  struct allocated *found = *find_allocated((address)side->memory);
  return side->type == HOST || !found || found->context == context;
}

static int queue_rows(struct stream *stream, struct side from, struct side to, size_t bytes, size_t rows) {
  struct work *work = queue_copy(stream, from.type == HOST ? UP : to.type == HOST ? DOWN : WITHIN, to.memory, from.memory, 0, bytes);
  work->copy.rows = rows;
  work->copy.from_pitch = from.pitch;
  work->copy.to_pitch = to.pitch;
  /* of memory that is not page-locked */
  int is_host = from.type == HOST || to.type == HOST;
  if (is_host && !*find_locked(from.type == HOST ? from.memory : to.memory)) run_until(stream, stream->queued);
  return failed;
}

struct memcpy2d {
  size_t from_x, from_y;
  int from_type;
  char *from_host;
  address from_device;
  void *from_array;
  size_t from_pitch, to_x, to_y;
  int to_type;
  char *to_host;
  address to_device;
  void *to_array;
  size_t to_pitch, bytes, rows;
};
int cuMemcpy2DAsync_v2(const struct memcpy2d *copy, struct stream *stream) {
  struct side from = {copy->from_type, copy->from_type == HOST ? copy->from_host : (char *)copy->from_device, copy->from_pitch};
  struct side to = {copy->to_type, copy->to_type == HOST ? copy->to_host : (char *)copy->to_device, copy->to_pitch};
  lock();
  if (!(stream = named(stream)) || !is_reached(&from, current()) || !is_reached(&to, current())) return unlock(INVALID_CONTEXT);
  return unlock(queue_rows(stream, from, to, copy->bytes, copy->rows));
}
int cuMemcpy2D_v2(const struct memcpy2d *copy) {
  int result = cuMemcpy2DAsync_v2(copy, NULL);
  return result ? result : cuStreamSynchronize(NULL);
}

struct memcpy3d_peer {
  size_t from_x, from_y, from_z, from_level;
  int from_type;
  char *from_host;
  address from_device;
  void *from_array;
  struct context *from_context;
  size_t from_pitch, from_height, to_x, to_y, to_z, to_level;
  int to_type;
  char *to_host;
  address to_device;
  void *to_array;
  struct context *to_context;
  size_t to_pitch, to_height, bytes, rows, depth;
};
int cuMemcpy3DPeerAsync(const struct memcpy3d_peer *copy, struct stream *stream) {
  struct side from = {copy->from_type, (char *)copy->from_device, copy->from_pitch};
  struct side to = {copy->to_type, (char *)copy->to_device, copy->to_pitch};
  lock();
  int is_device = from.type == DEVICE && to.type == DEVICE && copy->depth == 1;
  int is_reached_so = is_reached(&from, copy->from_context) && is_reached(&to, copy->to_context);
  if (!is_device || !is_reached_so || !(stream = named(stream))) return unlock(INVALID_CONTEXT);
  between++;
  return unlock(queue_rows(stream, from, to, copy->bytes, copy->rows));
}

/* What GStreamer's library looks for, 1.22 or 1.24, and nobody calls. */
#define ABSENT(name) int name(void) { return NOT_FOUND; }
ABSENT(cuGraphicsMapResources)
ABSENT(cuGraphicsUnmapResources)
ABSENT(cuGraphicsResourceSetMapFlags_v2)
ABSENT(cuGraphicsSubResourceGetMappedArray)
ABSENT(cuGraphicsResourceGetMappedPointer_v2)
ABSENT(cuGraphicsUnregisterResource)
ABSENT(cuTexObjectCreate)
ABSENT(cuTexObjectDestroy)
ABSENT(cuGraphicsGLRegisterImage)
ABSENT(cuGraphicsGLRegisterBuffer)
ABSENT(cuGLGetDevices)
ABSENT(cuGLGetDevices_v2)
ABSENT(cuIpcGetEventHandle)
ABSENT(cuIpcOpenEventHandle)
ABSENT(cuIpcGetMemHandle)
ABSENT(cuIpcOpenMemHandle)
ABSENT(cuIpcCloseMemHandle)
