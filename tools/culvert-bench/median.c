#include <stdlib.h>

#include "culvert-bench/bench.h"

static int by_value(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

void bench_sort(double *v, size_t n) {
    qsort(v, n, sizeof *v, by_value);
}

double bench_median(double *v, size_t n) {
    bench_sort(v, n);
    return v[n / 2];
}
