#include "bench/measure.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

static double seconds_of(clockid_t clock)
{
    struct timespec now;
    clock_gettime(clock, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

double st_clock(void)
{
    return seconds_of(CLOCK_MONOTONIC);
}

double st_clock_cpu(void)
{
    return seconds_of(CLOCK_PROCESS_CPUTIME_ID);
}

void st_settle(void)
{
    const struct timespec pause = {.tv_nsec = 1000000};
    for (int i = 0; i < 200; i++) {
        double before = st_clock_cpu();
        nanosleep(&pause, NULL);
        if (st_clock_cpu() - before < 0.2e-3)
            return;
    }
}

static bool peak_known;

void st_peak_reset(void)
{
    FILE *f = fopen("/proc/self/clear_refs", "w");
    peak_known = f && fputs("5", f) >= 0; /* Linux: the peak becomes what there is now */
    if (f && fclose(f) != 0)
        peak_known = false;
}

uint64_t st_peak_bytes(void)
{
    char line[128];
    uint64_t kilobytes = 0;
    FILE *f = peak_known ? fopen("/proc/self/status", "r") : NULL;
    while (f && fgets(line, sizeof line, f) && sscanf(line, "VmHWM: %" SCNu64 " kB", &kilobytes) != 1)
        ;
    if (f)
        fclose(f);
    return kilobytes << 10;
}

uint64_t st_draw(uint64_t *state)
{
    uint64_t z = *state += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return z ^ z >> 31;
}

double st_draw_unit(uint64_t *state)
{
    return ((double)(st_draw(state) >> 12) + 0.5) * 0x1p-52;
}

int32_t st_draw_below(uint64_t *state, int32_t n)
{
    return (int32_t)((st_draw(state) >> 32) * (uint64_t)n >> 32);
}

uint64_t st_stream(uint64_t seed, uint64_t index)
{
    uint64_t state = seed;
    state = st_draw(&state) + index;
    return st_draw(&state);
}

void st_draw_tokens(uint64_t *state, int32_t n_vocab, sterna_token *tokens, int32_t n)
{
    for (int32_t i = 0; i < n; i++)
        tokens[i] = st_draw_below(state, n_vocab);
}

uint64_t st_hash_token(uint64_t hash, sterna_token token)
{
    return (hash ^ (uint32_t)token) * UINT64_C(0x100000001b3); /* FNV-1a by words */
}

static int ascending(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

void st_sort(double *values, size_t n)
{
    if (n > 0)
        qsort(values, n, sizeof *values, ascending);
}

double st_percentile(const double *sorted, size_t n, double percent)
{
    if (n == 0)
        return NAN;
    size_t rank = (size_t)ceil(percent * (double)n / 100.0);
    return sorted[rank < 1 ? 0 : rank > n ? n - 1 : rank - 1];
}

double st_median(const double *sorted, size_t n)
{
    return n == 0 ? NAN : 0.5 * (sorted[(n - 1) / 2] + sorted[n / 2]);
}
