/* A libcuda.so.1 for the tests: no card is behind it. What it says of itself comes from the environment:

     DRIVER_VERSION     CUDA that it is for, as 13000; what is wanted unless it is set
     DRIVER_CARDS       how many there are; 1. CUDA_VISIBLE_DEVICES set to nothing hides them
     DRIVER_CAPABILITY  of each card, as 75; 90
     DRIVER_MEMORY      bytes of a card; unlimited
     DRIVER_FAILS       the number of the launch that fails, and all that follows it; none
     DRIVER_KERNELS     a folder of kernels compiled for the host (src/kernels/cuda/host.hpp), which launches run;
                        where there are none, launches do nothing
     DRIVER_REPORT      a file that the numbers of this process are written to as it ends, see report()

   Memory of the card is the host's, and all is done at once. Without DRIVER_KERNELS no module loads. */
#include <dirent.h>
#include <dlfcn.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SUCCESS = 0, OUT_OF_MEMORY = 2, NO_DEVICE = 100, INVALID_DEVICE = 101, UNSUPPORTED_PTX = 222,
       NOT_FOUND = 500, LAUNCH_FAILED = 719 };
enum { CAPABILITY_MAJOR = 75, CAPABILITY_MINOR = 76 };

typedef unsigned long long address;
typedef int (*emulate_function)(const char *, const unsigned[3], const unsigned[3], void **);

static long number(const char *name, long otherwise) {
  const char *text = getenv(name);
  return text ? atol(text) : otherwise;
}

static int cards(void) {
  const char *visible = getenv("CUDA_VISIBLE_DEVICES");
  return visible && !*visible ? 0 : (int)number("DRIVER_CARDS", 1);
}

static int failed;

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
  *value = attribute == CAPABILITY_MAJOR ? capability / 10 : attribute == CAPABILITY_MINOR ? capability % 10 : 0;
  return SUCCESS;
}
int cuDevicePrimaryCtxRetain(void **context, int device) { static int one; *context = &one; return SUCCESS; }
int cuDevicePrimaryCtxRelease_v2(int device) { return SUCCESS; }
int cuCtxSetCurrent(void *context) { return SUCCESS; }
int cuCtxGetCurrent(void **context) { return cuDevicePrimaryCtxRetain(context, 0); }
int cuCtxSynchronize(void) { return failed; }
int cuStreamCreate(void **stream, unsigned flags) { static int one; *stream = &one; return SUCCESS; }
int cuStreamDestroy_v2(void *stream) { return SUCCESS; }
int cuStreamSynchronize(void *stream) { return failed; }
int cuStreamWaitEvent(void *stream, void *event, unsigned flags) { return failed; }
int cuStreamIsCapturing(void *stream, int *capturing) { *capturing = 0; return SUCCESS; }
int cuEventCreate(void **event, unsigned flags) { static int one; *event = &one; return SUCCESS; }
int cuEventRecord(void *event, void *stream) { return failed; }
int cuEventDestroy_v2(void *event) { return SUCCESS; }
int cuGetErrorString(int error, const char **text) { *text = "as the test wants it"; return SUCCESS; }
int cuGetErrorName(int error, const char **text) { *text = "error"; return SUCCESS; }

static size_t used, peak;
static long allocations, up, down, launches;

/* Bytes of the card at most; allocations; bytes copied to and from it; launches. */
__attribute__((destructor)) static void report(void) {
  const char *path = getenv("DRIVER_REPORT");
  FILE *file = path && allocations ? fopen(path, "w") : NULL;
  if (!file) return;
  fprintf(file, "peak %zu\nallocations %ld\nup %ld\ndown %ld\nlaunches %ld\n", peak, allocations, up, down, launches);
  fclose(file);
}

static void count_to(long *number, size_t by) { __atomic_add_fetch(number, (long)by, __ATOMIC_SEQ_CST); }

int cuMemFree_v2(address memory) {
  __atomic_sub_fetch(&used, malloc_usable_size((void *)memory), __ATOMIC_SEQ_CST);
  free((void *)memory);
  return SUCCESS;
}
int cuMemAlloc_v2(address *to, size_t bytes) {
  const char *most = getenv("DRIVER_MEMORY");
  char *memory = malloc(bytes + !bytes);
  size_t now = __atomic_add_fetch(&used, malloc_usable_size(memory), __ATOMIC_SEQ_CST);
  if (most && now > strtoull(most, NULL, 10)) {
    cuMemFree_v2((address)memory);
    return OUT_OF_MEMORY;
  }
  /* one stream at a time allocates in the tests that look at the peak */
  if (now > peak) peak = now;
  count_to(&allocations, 1);
  /* what is not written shows */
  memset(memory, 0x7f, bytes);
  *to = (address)memory;
  return failed;
}
int cuMemsetD8Async(address to, unsigned char value, size_t bytes, void *stream) {
  memset((void *)to, value, bytes);
  return failed;
}
int cuMemcpyHtoDAsync_v2(address to, const void *from, size_t bytes, void *stream) {
  memcpy((void *)to, from, bytes);
  count_to(&up, bytes);
  return failed;
}
int cuMemcpyDtoHAsync_v2(void *to, address from, size_t bytes, void *stream) {
  memcpy(to, (void *)from, bytes);
  count_to(&down, bytes);
  return failed;
}
/* CUDA_MEMCPY2D. */
struct rows {
  size_t from_x, from_y;
  unsigned from_kind;
  const char *from_host;
  address from_device;
  void *from_array;
  size_t from_pitch, to_x, to_y;
  unsigned to_kind;
  char *to_host;
  address to_device;
  void *to_array;
  size_t to_pitch, bytes, rows;
};
int cuMemcpy2DAsync_v2(const struct rows *copy, void *stream) {
  enum { DEVICE = 2 };
  int is_up = copy->to_kind == DEVICE;
  if (copy->from_x | copy->from_y | copy->to_x | copy->to_y || is_up == (copy->from_kind == DEVICE)) abort();
  const char *from = is_up ? copy->from_host : (const char *)copy->from_device;
  char *to = is_up ? (char *)copy->to_device : copy->to_host;
  for (size_t y = 0; y < copy->rows; y++) memcpy(to + y * copy->to_pitch, from + y * copy->from_pitch, copy->bytes);
  count_to(is_up ? &up : &down, copy->rows * copy->bytes);
  return failed;
}
int cuMemcpyDtoDAsync_v2(address to, address from, size_t bytes, void *stream) {
  memcpy((void *)to, (void *)from, bytes);
  return failed;
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

static emulate_function libraries[64];
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
    if (library && count < 64) libraries[count++] = (emulate_function)dlsym(library, "emulate");
  }
  if (files) closedir(files);
}

int cuLaunchKernel(void *function, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by, unsigned bz,
                   unsigned shared, void *stream, void **arguments, void **extra) {
  const unsigned grid[3] = {gx, gy, gz}, block[3] = {bx, by, bz};
  if (__atomic_add_fetch(&launches, 1, __ATOMIC_SEQ_CST) == number("DRIVER_FAILS", -1)) failed = LAUNCH_FAILED;
  if (failed) return failed;
  if (count < 0) load();
  for (int i = 0; i < count; i++)
    if (libraries[i](function, grid, block, arguments)) return SUCCESS;
  return count ? NOT_FOUND : SUCCESS;
}
