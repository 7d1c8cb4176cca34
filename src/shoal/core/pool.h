/* A pool of threads that help whoever runs blocks of work.
 *
 * A caller opens a job of `count` blocks for `slots` threads, itself among them. Blocks are
 * claimed one by one, by helpers and by the caller alike; when none is left, the caller waits
 * for the blocks that helpers have claimed and not finished, and for nothing else. So a helper
 * that the system does not run holds up one block at most, and one that comes late, or could
 * not be started, is done without.
 *
 * `open` is one word: slots in its upper half, blocks not yet claimed in its lower half. A claim
 * is a compare-and-swap that takes one block off. Whoever succeeds has a block of the job that
 * is open at that moment, which can't end before the block does: so the job is read after the
 * claim, and no claim of an earlier job can be mistaken for one of a later.
 *
 * A helper without work looks at `open` for POOL_SPIN_NS and then sleeps on a condition of its
 * own; so does the caller that waits. Each side stores its word before it looks at the other's
 * (`open` and `asleep`, `finished` and `waiting`, all sequentially consistent), so that one of
 * them sees the other: no wake-up is lost.
 *
 * One job at a time: a second caller does not wait but runs its blocks alone. A forked child has
 * none of its parent's threads, so it begins with an empty pool. Helpers are detached, take no
 * signals, and hold no lock while they work: nothing waits for them at exit. Blocks are run with
 * C's default rounding and subnormals, whatever the caller's thread has: the bits must not
 * depend on who runs them. Kernels have frames of up to 110 KB, and some threads have stacks of
 * 64 KiB (`threading.stack_size`): for a caller with less than POOL_LEAST_STACK left another
 * thread is started, which runs the blocks in its place.
 */
#ifndef SHOAL_POOL_H
#define SHOAL_POOL_H

#include <fenv.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#ifdef _WIN32
#include <process.h>
#include <windows.h>
typedef SRWLOCK pool_mutex;
typedef CONDITION_VARIABLE pool_condition;
static void pool_mutex_init(pool_mutex *m) { InitializeSRWLock(m); }
static void pool_mutex_destroy(pool_mutex *m) { (void)m; }
static void pool_mutex_lock(pool_mutex *m) { AcquireSRWLockExclusive(m); }
static void pool_mutex_unlock(pool_mutex *m) { ReleaseSRWLockExclusive(m); }
static void pool_condition_init(pool_condition *c) { InitializeConditionVariable(c); }
static void pool_condition_wait(pool_condition *c, pool_mutex *m)
{
    SleepConditionVariableSRW(c, m, INFINITE, 0);
}
static void pool_condition_wake(pool_condition *c) { WakeConditionVariable(c); }
#else
#include <pthread.h>
#include <signal.h>
#include <time.h>
typedef pthread_mutex_t pool_mutex;
typedef pthread_cond_t pool_condition;
static void pool_mutex_init(pool_mutex *m) { pthread_mutex_init(m, NULL); }
static void pool_mutex_destroy(pool_mutex *m) { pthread_mutex_destroy(m); }
static void pool_mutex_lock(pool_mutex *m) { pthread_mutex_lock(m); }
static void pool_mutex_unlock(pool_mutex *m) { pthread_mutex_unlock(m); }
static void pool_condition_init(pool_condition *c) { pthread_cond_init(c, NULL); }
static void pool_condition_wait(pool_condition *c, pool_mutex *m) { pthread_cond_wait(c, m); }
static void pool_condition_wake(pool_condition *c) { pthread_cond_signal(c); }
#endif

#if defined(__GNUC__) || defined(__clang__)
#define POOL_ATOMIC_LOAD(p) __atomic_load_n(p, __ATOMIC_SEQ_CST)
#define POOL_ATOMIC_STORE(p, v) __atomic_store_n(p, v, __ATOMIC_SEQ_CST)
#define POOL_ATOMIC_ADD(p, v) __atomic_add_fetch(p, v, __ATOMIC_SEQ_CST)
static inline int pool_compare_exchange(int64_t *p, int64_t expected, int64_t wanted)
{
    return __atomic_compare_exchange_n(p, &expected, wanted, 0, __ATOMIC_SEQ_CST,
                                       __ATOMIC_RELAXED);
}
#if defined(__x86_64__) || defined(__i386__)
#define POOL_PAUSE() __builtin_ia32_pause()
#elif defined(__aarch64__)
#define POOL_PAUSE() __asm__ volatile("isb" ::: "memory") /* about as long as pause */
#else
#define POOL_PAUSE() ((void)0)
#endif
#define POOL_THREAD_LOCAL __thread
#else
#include <intrin.h>
#define POOL_ATOMIC_LOAD(p) _InterlockedCompareExchange64(p, 0, 0)
#define POOL_ATOMIC_STORE(p, v) ((void)_InterlockedExchange64(p, v))
#define POOL_ATOMIC_ADD(p, v) (_InterlockedExchangeAdd64(p, v) + (v))
static inline int pool_compare_exchange(int64_t *p, int64_t expected, int64_t wanted)
{
    return _InterlockedCompareExchange64(p, wanted, expected) == expected;
}
#define POOL_PAUSE() YieldProcessor()
#define POOL_THREAD_LOCAL __declspec(thread)
#endif

enum {
    POOL_SLOTS = 256,         /* threads of a job at most */
    POOL_SPIN_NS = 100000,    /* before a thread sleeps: what Python does between two kernels */
    POOL_STACK = 1 << 21,     /* bytes; kernels keep tiles and tables on the stack */
    POOL_LEAST_STACK = 1 << 18,
    POOL_RETRY = 64           /* jobs after a helper could not be started until the next try */
};

static int pool_spins; /* pauses that take POOL_SPIN_NS: one takes 10 to 50 ns */

/* Run one block of a job in memory that belongs to a slot. */
typedef void (*pool_run_t)(void *job, intptr_t block, int slot);

static struct {
    int64_t open;             /* slots << 32 | blocks that nobody has claimed */
    int64_t finished;         /* blocks of the job that are done */
    int64_t owned;            /* whether a caller has the pool */
    int64_t waiting;          /* whether the caller waits for `done` */
    pool_run_t run;           /* the job: written before it is opened */
    void *job;
    int64_t count;
    intptr_t helpers;         /* started; written by the owner alone */
    int retry;
    pool_mutex lock;          /* of all conditions */
    pool_condition done;
    pool_condition work[POOL_SLOTS];
    int64_t asleep[POOL_SLOTS]; /* helpers that wait for their `work` */
} pool;

/* Whether a value of `open` has a block for a slot. */
static inline int pool_offers(int64_t open, int64_t slot)
{
    return (open & 0xFFFFFFFF) > 0 && slot < open >> 32;
}

/* Claim a block of the open job for a slot; -1 where there is none. */
static inline int64_t pool_claim(int64_t slot)
{
    int64_t open = POOL_ATOMIC_LOAD(&pool.open);
    while (pool_offers(open, slot)) {
        if (pool_compare_exchange(&pool.open, open, open - 1))
            return pool.count - (open & 0xFFFFFFFF);
        open = POOL_ATOMIC_LOAD(&pool.open);
    }
    return -1;
}

static inline int pool_has_work(int64_t slot)
{
    return pool_offers(POOL_ATOMIC_LOAD(&pool.open), slot);
}

static void pool_help(int64_t slot)
{
    int64_t block, count;
    int spins = 0;
    fesetenv(FE_DFL_ENV);
    for (;;) {
        block = pool_claim(slot);
        if (block >= 0) {
            count = pool.count;
            pool.run(pool.job, (intptr_t)block, (int)slot);
            if (POOL_ATOMIC_ADD(&pool.finished, 1) == count && POOL_ATOMIC_LOAD(&pool.waiting)) {
                pool_mutex_lock(&pool.lock);
                pool_condition_wake(&pool.done);
                pool_mutex_unlock(&pool.lock);
            }
            spins = 0;
        } else if (spins++ < pool_spins) {
            POOL_PAUSE();
        } else {
            pool_mutex_lock(&pool.lock);
            POOL_ATOMIC_STORE(&pool.asleep[slot], 1);
            while (!pool_has_work(slot))
                pool_condition_wait(&pool.work[slot], &pool.lock);
            POOL_ATOMIC_STORE(&pool.asleep[slot], 0);
            pool_mutex_unlock(&pool.lock);
            spins = 0;
        }
    }
}

/* What another thread is to do, and the thread that does it: see `pool_run`. */
typedef struct {
    pool_run_t run;
    void *job;
    int64_t count, slots;
} pool_call_t;

static void pool_answer(const pool_call_t *call);

#ifdef _WIN32
static unsigned __stdcall pool_helper(void *slot)
{
    pool_help((int64_t)(intptr_t)slot);
    return 0;
}
static unsigned __stdcall pool_called(void *call)
{
    pool_answer((pool_call_t *)call);
    return 0;
}
static uintptr_t pool_create(unsigned(__stdcall *function)(void *), void *argument)
{
    return _beginthreadex(NULL, POOL_STACK, function, argument, STACK_SIZE_PARAM_IS_A_RESERVATION,
                          NULL);
}
static int pool_start(intptr_t slot)
{
    uintptr_t thread = pool_create(pool_helper, (void *)slot);
    if (thread == 0)
        return -1;
    CloseHandle((HANDLE)thread);
    return 0;
}
static int pool_call(pool_call_t *call)
{
    uintptr_t thread = pool_create(pool_called, call);
    if (thread == 0)
        return -1;
    WaitForSingleObject((HANDLE)thread, INFINITE);
    CloseHandle((HANDLE)thread);
    return 0;
}
#else
static void *pool_helper(void *slot)
{
    pool_help((int64_t)(intptr_t)slot);
    return NULL;
}
static void *pool_called(void *call)
{
    pool_answer((pool_call_t *)call);
    return NULL;
}
static int pool_create(void *(*function)(void *), void *argument, pthread_t *thread)
{
    sigset_t all, before;
    pthread_attr_t attributes;
    int failed;
    if (pthread_attr_init(&attributes))
        return -1;
    pthread_attr_setstacksize(&attributes, POOL_STACK);
    sigfillset(&all); /* signals are the interpreter's, but for those of a thread's own faults */
    sigdelset(&all, SIGSEGV);
    sigdelset(&all, SIGBUS);
    sigdelset(&all, SIGFPE);
    sigdelset(&all, SIGILL);
    sigdelset(&all, SIGTRAP);
    sigdelset(&all, SIGABRT);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    failed = pthread_create(thread, &attributes, function, argument);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&attributes);
    return failed ? -1 : 0;
}
static int pool_start(intptr_t slot)
{
    pthread_t thread;
    if (pool_create(pool_helper, (void *)slot, &thread))
        return -1;
    pthread_detach(thread);
    return 0;
}
static int pool_call(pool_call_t *call)
{
    pthread_t thread;
    if (pool_create(pool_called, call, &thread))
        return -1;
    pthread_join(thread, NULL);
    return 0;
}
#endif

/* An empty pool, as a process begins with; in a forked child too, where whatever its parent's
 * threads were at is not going on. */
static void pool_reset(void)
{
    memset(&pool, 0, sizeof pool);
    pool_mutex_init(&pool.lock);
    pool_condition_init(&pool.done);
    for (int slot = 1; slot < POOL_SLOTS; slot++)
        pool_condition_init(&pool.work[slot]);
}

static int64_t pool_nanoseconds(void)
{
#ifdef _WIN32
    LARGE_INTEGER ticks, frequency;
    QueryPerformanceCounter(&ticks);
    QueryPerformanceFrequency(&frequency);
    return (int64_t)((double)ticks.QuadPart * 1e9 / (double)frequency.QuadPart);
#else
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
#endif
}

static void pool_init(void)
{
    enum { TRIES = 3, PAUSES = 200 };
    int64_t least = POOL_SPIN_NS, taken;
    for (int i = 0; i < TRIES; i++) { /* the least: others may have had the core meanwhile */
        taken = pool_nanoseconds();
        for (int j = 0; j < PAUSES; j++)
            POOL_PAUSE();
        taken = pool_nanoseconds() - taken;
        least = taken < least ? taken : least;
    }
    pool_spins = (int)(POOL_SPIN_NS / (least > PAUSES ? least : PAUSES) * PAUSES);
    pool_reset();
#ifndef _WIN32
    pthread_atfork(NULL, NULL, pool_reset);
#endif
}

static void pool_share(pool_run_t run, void *job, int64_t count, int64_t slots)
{
    int64_t block, mine = 0;
    int spins = 0;
    slots = slots < POOL_SLOTS ? slots : POOL_SLOTS;
    slots = slots < count ? slots : count;
    if (slots <= 1 || !pool_compare_exchange(&pool.owned, 0, 1)) {
        for (block = 0; block < count; block++)
            run(job, (intptr_t)block, 0);
        return;
    }
    if (pool.retry > 0)
        pool.retry--;
    while (pool.helpers < slots - 1 && pool.retry == 0) {
        if (pool_start(pool.helpers + 1))
            pool.retry = POOL_RETRY;
        else
            pool.helpers++;
    }
    pool.run = run;
    pool.job = job;
    pool.count = count;
    POOL_ATOMIC_STORE(&pool.finished, 0);
    POOL_ATOMIC_STORE(&pool.open, slots << 32 | count);
    for (int64_t slot = 1; slot < slots && pool_has_work(slot); slot++)
        if (POOL_ATOMIC_LOAD(&pool.asleep[slot])) {
            pool_mutex_lock(&pool.lock);
            pool_condition_wake(&pool.work[slot]);
            pool_mutex_unlock(&pool.lock);
        }
    while ((block = pool_claim(0)) >= 0) {
        run(job, (intptr_t)block, 0);
        mine++;
    }
    if (POOL_ATOMIC_ADD(&pool.finished, mine) < count) {
        while (POOL_ATOMIC_LOAD(&pool.finished) < count && spins++ < pool_spins)
            POOL_PAUSE();
        if (POOL_ATOMIC_LOAD(&pool.finished) < count) {
            pool_mutex_lock(&pool.lock);
            POOL_ATOMIC_STORE(&pool.waiting, 1);
            while (POOL_ATOMIC_LOAD(&pool.finished) < count)
                pool_condition_wait(&pool.done, &pool.lock);
            POOL_ATOMIC_STORE(&pool.waiting, 0);
            pool_mutex_unlock(&pool.lock);
        }
    }
    POOL_ATOMIC_STORE(&pool.owned, 0);
}

/* Whether rounding and subnormals are C's default here, where that is quickly told. */
static inline int pool_has_default_mode(void)
{
#if defined(__GNUC__) && defined(__x86_64__)
    return (__builtin_ia32_stmxcsr() & 0xFFC0) == 0x1F80;
#else
    return 0;
#endif
}

static void pool_answer(const pool_call_t *call)
{
    fesetenv(FE_DFL_ENV);
    pool_share(call->run, call->job, call->count, call->slots);
}

/* Where the calling thread's stack ends, and its size; 0 where the system does not tell. */
static void pool_find_stack(uintptr_t *end, size_t *size)
{
    *end = 0;
    *size = 0;
#ifdef _WIN32
    ULONG_PTR low, high;
    GetCurrentThreadStackLimits(&low, &high);
    *end = low;
    *size = high - low;
#elif defined(__APPLE__)
    *size = pthread_get_stacksize_np(pthread_self());
    *end = (uintptr_t)pthread_get_stackaddr_np(pthread_self()) - *size;
#elif defined(__linux__)
    pthread_attr_t attributes;
    void *low;
    if (pthread_getattr_np(pthread_self(), &attributes))
        return;
    if (pthread_attr_getstack(&attributes, &low, size) == 0)
        *end = (uintptr_t)low;
    pthread_attr_destroy(&attributes);
#endif
}

/* Whether the calling thread has too little stack for a kernel, or runs on one of another kind. */
static int pool_has_little_stack(void)
{
    static POOL_THREAD_LOCAL uintptr_t end;
    static POOL_THREAD_LOCAL size_t size;
    size_t left;
#if defined(__GNUC__)
    uintptr_t here = (uintptr_t)__builtin_frame_address(0); /* no sanitizer's own stack */
#else
    char local;
    uintptr_t here = (uintptr_t)&local;
#endif
    if (end == 0)
        pool_find_stack(&end, &size);
    left = here - end; /* huge where it is not within the stack */
    return end != 0 && (left < POOL_LEAST_STACK || left > size);
}

/* Run blocks 0 .. count - 1 (fewer than 2^31) of a job on up to `slots` threads. Returns when all
 * are done; they may be run by the caller alone, as slot 0. Not 0 where none was run, because
 * the caller has too little stack and no other thread could be started. */
static int pool_run(pool_run_t run, void *job, int64_t count, int64_t slots)
{
    fenv_t environment;
    if (pool_has_little_stack()) {
        pool_call_t call = {run, job, count, slots};
        return pool_call(&call);
    }
    if (pool_has_default_mode()) {
        pool_share(run, job, count, slots);
        return 0;
    }
    fegetenv(&environment);
    fesetenv(FE_DFL_ENV);
    pool_share(run, job, count, slots);
    fesetenv(&environment);
    return 0;
}

/* Threads that the calling thread's runs may use, as threadpoolctl set it; 0: not set. */
static POOL_THREAD_LOCAL int pool_limit_here;
static int pool_get_limit(void) { return pool_limit_here; }
static void pool_set_limit(int limit) { pool_limit_here = limit; }

#endif
