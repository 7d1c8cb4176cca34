/* A stress of pool.h alone, for the thread and address sanitizers: callers that take the pool in
 * turn or run alone, one of them with a small stack, blocks of all lengths, forks meanwhile.
 * Prints "done" where every block of every job was run once, by a slot that nobody else had at
 * that time. */
#define _GNU_SOURCE /* as in Python's own header */
#include "pool.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

enum { CALLERS = 3, JOBS = 400, MOST = 97, SLOTS = 5 };

typedef struct {
    int runs[MOST];
    long scratch[SLOTS]; /* written without a lock: a slot is one thread's */
    unsigned work;
} job_t;

static void run(void *job, intptr_t block, int slot)
{
    job_t *j = job;
    volatile unsigned spin = (unsigned)(block * 2654435761u) % (j->work + 1);
    j->runs[block]++;
    j->scratch[slot]++;
    while (spin > 0)
        spin--;
}

static void check_jobs(unsigned seed, int jobs)
{
    for (int n = 0; n < jobs; n++) {
        job_t j;
        long total = 0;
        int count = 1 + rand_r(&seed) % MOST, slots = 1 + rand_r(&seed) % SLOTS;
        memset(&j, 0, sizeof j);
        j.work = n % 7 == 0 ? 20000 : 200;
        if (pool_run(run, &j, count, slots)) {
            fprintf(stderr, "no thread could be started\n");
            exit(1);
        }
        for (int b = 0; b < MOST; b++)
            if (j.runs[b] != (b < count)) {
                fprintf(stderr, "block %d of %d was run %d times\n", b, count, j.runs[b]);
                exit(1);
            }
        for (int s = 0; s < SLOTS; s++)
            total += j.scratch[s];
        if (total != count) {
            fprintf(stderr, "%ld of %d blocks counted\n", total, count);
            exit(1);
        }
        if (n % 50 == 49)
            usleep(2000); /* so that helpers fall asleep */
    }
}

static void *caller(void *number)
{
    check_jobs((unsigned)(intptr_t)number, JOBS);
    return NULL;
}

int main(int argc, char **argv)
{
    int forks = argc > 1 ? atoi(argv[1]) : 0;
    pthread_t threads[CALLERS];
    pthread_attr_t small;
    pool_init();
    pool_set_limit(pool_get_limit());
    check_jobs(7, 20);
    pthread_attr_init(&small);
    pthread_attr_setstacksize(&small, POOL_LEAST_STACK / 2);
    for (intptr_t t = 0; t < CALLERS; t++)
        pthread_create(&threads[t], t == 0 ? &small : NULL, caller, (void *)t);
    for (int f = 0; f < forks; f++) {
        int status;
        pid_t child = fork();
        if (child == 0) {
            check_jobs((unsigned)f, 20);
            _exit(0);
        }
        waitpid(child, &status, 0);
        if (status != 0) {
            fprintf(stderr, "a forked child ended with %d\n", status);
            return 1;
        }
    }
    for (int t = 0; t < CALLERS; t++)
        pthread_join(threads[t], NULL);
    puts("done");
    return 0;
}
