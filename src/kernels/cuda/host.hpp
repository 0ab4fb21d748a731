// CUDA for the host, as far as the kernels here use it: blocks one after the other, the threads of a block in turns. So that the tests
// run the very sources that nvcc compiles. Threads that wait for each other (__syncthreads, shuffles) are fibers.
#pragma once
#include <setjmp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <ucontext.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#define __global__
#define __device__
#define __grid_constant__
#define __shared__ static
#define __launch_bounds__(...)
#define __forceinline__ inline
#define __noinline__ __attribute__((noinline))
#define KERNEL static void

using std::max;
using std::min;

struct alignas(8) int2 {
    int x, y;
};
struct alignas(8) uint2 {
    unsigned x, y;
};
struct alignas(16) uint4 {
    unsigned x, y, z, w;
};
struct alignas(8) float2 {
    float x, y;
};
struct alignas(16) float4 {
    float x, y, z, w;
};

struct __half {
    _Float16 value;
};
inline float __half2float(__half half) { return (float)half.value; }
inline __half __float2half_rn(float value) { return {(_Float16)value}; }
struct __half2 {
    __half x, y;
};
inline __half2 __floats2half2_rn(float x, float y) { return {__float2half_rn(x), __float2half_rn(y)}; }
inline float2 __half22float2(__half2 both) { return {__half2float(both.x), __half2float(both.y)}; }

namespace host {

struct Dim {
    unsigned x, y, z;
};
static Dim thread_index, block_index, block_size, grid_size;
static const char* kernel = "";

[[noreturn]] inline void fail(const char* what) {
    fprintf(stderr, "%s: %s (block %u %u %u, thread %u %u %u)\n", kernel, what, block_index.x, block_index.y, block_index.z,
            thread_index.x, thread_index.y, thread_index.z);
    abort();
}

enum State { READY, EXCHANGING, WAITING, DONE };

struct Fiber {
    jmp_buf place;
    ucontext_t start;
    Dim index;
    State state;
    bool started;
    // Of an exchange: who takes part, what this one gives, whose value it wants (-1: whether each one's is not 0).
    unsigned mask;
    uint32_t value;
    int from;
};

const int MOST = 1024;
const size_t STACK = 128 << 10;
static Fiber fibers[MOST];
static int current = -1;
static jmp_buf scheduler;
struct Entry {
    void (*call)(void (*)(), void**);
    void (*function)();
    bool cooperative;
    // Of each parameter.
    std::vector<size_t> sizes;
};
static const Entry* entry;
static void** arguments;

inline void leave(State state) {
    Fiber& fiber = fibers[current];
    fiber.state = state;
    if (!_setjmp(fiber.place)) _longjmp(scheduler, 1);
}

// A fiber runs the kernel once, then waits to run it for another block.
inline void body() {
    for (;;) {
        entry->call(entry->function, arguments);
        leave(DONE);
    }
}

inline void resume(int i) {
    Fiber& fiber = fibers[i];
    current = i;
    thread_index = fiber.index;
    if (_setjmp(scheduler)) return;
    if (fiber.started) _longjmp(fiber.place, 1);
    fiber.started = true;
    getcontext(&fiber.start);
    void* stack = mmap(nullptr, STACK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (stack == MAP_FAILED) fail("no memory for a stack");
    fiber.start.uc_stack.ss_sp = stack;
    fiber.start.uc_stack.ss_size = STACK;
    fiber.start.uc_link = nullptr;
    makecontext(&fiber.start, body, 0);
    setcontext(&fiber.start);
}

// Gives what all threads of a mask have brought to whom it belongs, if they are all there.
inline bool exchange_of(int i, int count) {
    int warp = i / 32 * 32;
    unsigned mask = fibers[i].mask;
    uint32_t values[32];
    for (int lane = 0; lane < 32; lane++) {
        if (!(mask >> lane & 1)) continue;
        if (warp + lane >= count) fail("a mask names a thread that there is not");
        const Fiber& other = fibers[warp + lane];
        if (other.state != EXCHANGING || other.mask != mask) return false;
        values[lane] = other.value;
    }
    uint32_t votes = 0;
    for (int lane = 0; lane < 32; lane++)
        if (mask >> lane & 1) votes |= (uint32_t)(values[lane] != 0) << lane;
    for (int lane = 0; lane < 32; lane++) {
        if (!(mask >> lane & 1)) continue;
        Fiber& fiber = fibers[warp + lane];
        if (fiber.from >= 0 && !(mask >> fiber.from & 1)) fail("a shuffle from outside of its mask");
        fiber.value = fiber.from < 0 ? votes : values[fiber.from];
        fiber.state = READY;
    }
    return true;
}

inline void run_fibers(int count) {
    for (;;) {
        for (int i = 0; i < count; i++)
            if (fibers[i].state == READY) resume(i);
        bool ready = false;
        int waiting = 0, done = 0;
        for (int i = 0; i < count; i++) {
            if (fibers[i].state == EXCHANGING) exchange_of(i, count);
            ready |= fibers[i].state == READY;
            waiting += fibers[i].state == WAITING;
            done += fibers[i].state == DONE;
        }
        if (ready) continue;
        if (done == count) return;
        if (waiting != count) fail("threads wait for others that do not come");
        for (int i = 0; i < count; i++) fibers[i].state = READY;
    }
}

inline void run_block() {
    int count = (int)(block_size.x * block_size.y * block_size.z);
    if (count > MOST) fail("too many threads");
    int i = 0;
    for (unsigned z = 0; z < block_size.z; z++)
        for (unsigned y = 0; y < block_size.y; y++)
            for (unsigned x = 0; x < block_size.x; x++, i++) {
                if (entry->cooperative) {
                    fibers[i].index = {x, y, z};
                    fibers[i].state = READY;
                } else {
                    thread_index = {x, y, z};
                    entry->call(entry->function, arguments);
                }
            }
    if (entry->cooperative) run_fibers(count);
}

inline std::map<std::string, Entry>& entries() {
    static std::map<std::string, Entry> all;
    return all;
}

template <class... A, size_t... I>
void unpack(void (*function)(), void** arguments, std::index_sequence<I...>) {
    ((void (*)(A...))function)(*(A*)arguments[I]...);
}
template <class... A>
void call(void (*function)(), void** arguments) {
    unpack<A...>(function, arguments, std::index_sequence_for<A...>());
}

struct Registration {
    template <class... A>
    Registration(const char* name, void (*function)(A...), bool cooperative) {
        entries()[name] = {call<A...>, (void (*)())function, cooperative, {sizeof(A)...}};
    }
};

inline uint32_t exchange(unsigned mask, uint32_t value, int from) {
    if (current < 0) fail("a shuffle in a kernel that is not exported as cooperative");
    Fiber& fiber = fibers[current];
    fiber.mask = mask;
    fiber.value = value;
    fiber.from = from;
    leave(EXCHANGING);
    return fiber.value;
}

inline int lane() { return current % 32; }

template <class T>
T shuffle(unsigned mask, T value, int from) {
    static_assert(sizeof(T) == 4, "values of 32 bits");
    uint32_t bits;
    memcpy(&bits, &value, 4);
    bits = exchange(mask, bits, from);
    memcpy(&value, &bits, 4);
    return value;
}

inline void barrier() {
    if (current < 0) fail("a barrier in a kernel that is not exported as cooperative");
    leave(WAITING);
}

// What the PTX ISA says of mma.m16n8kK for .f16 with sums of .f32: element `i` that a thread has of a matrix is which one of it.
struct Place {
    int row, column;
};
inline Place of_a(int lane, int i) { return {lane / 4 + i / 2 % 2 * 8, lane % 4 * 2 + i % 2 + i / 4 * 8}; }
inline Place of_b(int lane, int i) { return {lane % 4 * 2 + i % 2 + i / 2 * 8, lane / 4}; }
inline Place of_d(int lane, int i) { return {lane / 4 + i / 2 * 8, lane % 4 * 2 + i % 2}; }

// Element `i` of those packed in words.
inline float half_of(const uint32_t* words, int i) {
    uint16_t bits = (uint16_t)(words[i / 2] >> i % 2 * 16);
    __half half;
    memcpy(&half, &bits, sizeof half);
    return __half2float(half);
}

// What the threads bring to a product of matrices, and get of it.
template <int K>
struct Brought {
    uint32_t a[K / 4], b[K / 8];
    float d[4];
};

// d += a b as the instruction does it. The first thread of a warp does the work once all have brought their parts.
template <int K>
void multiply(float (&d)[4], const uint32_t (&a)[K / 4], const uint32_t (&b)[K / 8]) {
    static Brought<K> all[MOST];
    Brought<K>* warp = all + current / 32 * 32;
    Brought<K>& own = all[current];
    memcpy(own.a, a, sizeof a);
    memcpy(own.b, b, sizeof b);
    memcpy(own.d, d, sizeof d);
    exchange(0xffffffffu, 0, lane());
    if (lane() == 0) {
        float whole_a[16][K], whole_b[K][8];
        for (int lane = 0; lane < 32; lane++) {
            for (int i = 0; i < K / 2; i++) whole_a[of_a(lane, i).row][of_a(lane, i).column] = half_of(warp[lane].a, i);
            for (int i = 0; i < K / 4; i++) whole_b[of_b(lane, i).row][of_b(lane, i).column] = half_of(warp[lane].b, i);
        }
        for (int lane = 0; lane < 32; lane++)
            for (int i = 0; i < 4; i++)
                for (int k = 0; k < K; k++)
                    warp[lane].d[i] += whole_a[of_d(lane, i).row][k] * whole_b[k][of_d(lane, i).column];
    }
    exchange(0xffffffffu, 0, lane());
    memcpy(d, own.d, sizeof d);
}

// The one instruction of newer cards, and the two of older ones, which must agree.
inline void mma(float (&d)[4], const uint32_t (&a)[4], uint2 b) {
    float older[4];
    memcpy(older, d, sizeof d);
    multiply<8>(older, {a[0], a[1]}, {b.x});
    multiply<8>(older, {a[2], a[3]}, {b.y});
    multiply<16>(d, {a[0], a[1], a[2], a[3]}, {b.x, b.y});
    if (memcmp(older, d, sizeof d)) fail("cards of different age multiply otherwise");
}

// What a thread has begun to copy to shared memory, in groups: it is done as late as can be, so that a missing wait shows.
struct Copy {
    uint4* to;
    const void* from;
    bool has;
};
static std::vector<std::vector<Copy>> copies[MOST];

inline std::vector<std::vector<Copy>>& begun() {
    if (current < 0) fail("a copy in a kernel that is not exported as cooperative");
    if (copies[current].empty()) copies[current].emplace_back();
    return copies[current];
}
inline void copy_async(uint4* to, const void* from, bool has) { begun().back().push_back({to, from, has}); }
inline void commit_async() { begun().emplace_back(); }
inline void wait_async(size_t but) {
    std::vector<std::vector<Copy>>& groups = begun();
    while (groups.size() > but + 1) {
        for (const Copy& copy : groups.front()) *copy.to = copy.has ? *(const uint4*)copy.from : uint4{0, 0, 0, 0};
        groups.erase(groups.begin());
    }
}

}  // namespace host

#define EXPORT(name) static host::Registration name##_registration(#name, name, false);
#define EXPORT_COOPERATIVE(name) static host::Registration name##_registration(#name, name, true);
#define CHECK(condition) \
    if (!(condition)) host::fail("not so: " #condition)

#define threadIdx host::thread_index
#define blockIdx host::block_index
#define blockDim host::block_size
#define gridDim host::grid_size

inline void __syncthreads() { host::barrier(); }
template <class T>
T __shfl_xor_sync(unsigned mask, T value, int by) {
    return host::shuffle(mask, value, host::lane() ^ by);
}
template <class T>
T __shfl_sync(unsigned mask, T value, int from) {
    return host::shuffle(mask, value, from);
}
inline void __syncwarp(unsigned mask) { host::exchange(mask, 0, host::lane()); }
// Of numbers of 16 bits, two in a word.
inline unsigned __vmaxu2(unsigned a, unsigned b) { return max(a >> 16, b >> 16) << 16 | max(a & 0xffff, b & 0xffff); }
inline unsigned __vminu2(unsigned a, unsigned b) { return min(a >> 16, b >> 16) << 16 | min(a & 0xffff, b & 0xffff); }
// The two halves of a word times two bytes of another one, the lower or the upper ones, all without a sign.
inline unsigned __dp2a_lo(unsigned halves, unsigned bytes, unsigned sum) { return (halves & 0xffff) * (bytes & 255) + (halves >> 16) * (bytes >> 8 & 255) + sum; }
inline unsigned __dp2a_hi(unsigned halves, unsigned bytes, unsigned sum) { return __dp2a_lo(halves, bytes >> 16, sum); }
// The lower word of both, shifted by less than 32.
inline unsigned __funnelshift_r(unsigned low, unsigned high, unsigned by) { return (unsigned)(((unsigned long long)high << 32 | low) >> by); }
inline int __ffs(unsigned bits) { return __builtin_ffs((int)bits); }
inline int __popc(unsigned bits) { return __builtin_popcount(bits); }
// Threads take turns: nothing comes in between.
inline unsigned atomicMin(unsigned* at, unsigned value) {
    unsigned before = *at;
    *at = min(before, value);
    return before;
}
inline unsigned __ballot_sync(unsigned mask, int vote) { return host::exchange(mask, vote != 0, -1); }

// How many parameters a kernel has, and how large each is; -1 if there is none of that name.
extern "C" int parameters(const char* name, size_t sizes[]) {
    auto found = host::entries().find(name);
    if (found == host::entries().end()) return -1;
    std::copy(found->second.sizes.begin(), found->second.sizes.end(), sizes);
    return (int)found->second.sizes.size();
}

// Runs a kernel as the driver's launch call would; 0 if there is none of that name.
extern "C" int emulate(const char* name, const uint32_t grid[3], const uint32_t block[3], void** arguments) {
    static std::mutex one_at_a_time;
    std::lock_guard<std::mutex> guard(one_at_a_time);
    auto found = host::entries().find(name);
    if (found == host::entries().end()) return 0;
    host::kernel = name;
    host::entry = &found->second;
    host::arguments = arguments;
    host::current = -1;
    host::grid_size = {grid[0], grid[1], grid[2]};
    host::block_size = {block[0], block[1], block[2]};
    for (unsigned z = 0; z < grid[2]; z++)
        for (unsigned y = 0; y < grid[1]; y++)
            for (unsigned x = 0; x < grid[0]; x++) {
                host::block_index = {x, y, z};
                host::run_block();
            }
    return 1;
}
