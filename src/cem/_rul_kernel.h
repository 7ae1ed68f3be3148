/* ln P(x | k, r) of one unit for all candidate remaining lives: model.md (10)-(12) with R S(r) in place of R.
 *
 * Candidates lie side by side, RUL_WIDTH at a time, so that each step is one operation on all of them. A is factorised
 * root-free, A = L D L', whose pivots are all at least 1; their product over channels becomes a logarithm at the end. */
#ifndef CEM_RUL_KERNEL_H
#define CEM_RUL_KERNEL_H

#include <math.h>
#include <stddef.h>

#define RUL_WIDTH 4
#define RUL_LARGEST_SIZE 8
#define RUL_LARGE 1e100
#define RUL_LOG_TWO_PI 1.8378770664093453

typedef double rul_vector __attribute__((vector_size(32)));
typedef double rul_loose __attribute__((vector_size(32), aligned(8), may_alias)); /* in arrays that are not aligned */

/* One channel; p is a constant wherever this is inlined. */
static inline __attribute__((always_inline)) void rul_channel(
    const int p,
    const ptrdiff_t n_grid,          /*             a multiple of RUL_WIDTH */
    const int n_modes,
    const double *S,                 /* (p, p, n_grid)   S(r), upper triangular, candidates last */
    const double *R,                 /* (p, p)           upper triangular */
    const double *w,                 /* (p,) */
    const double rss, const double n,
    const double *factors,           /* (n_modes, p, p)  Lambda / sigma, lower triangular */
    const double *means,             /* (n_modes, p)     mu / sigma */
    const double *inverse_sigmas,    /* (n_modes,) */
    const double *log_variances,     /* (n_modes,) */
    double *total_out,               /* (n_modes, n_grid)  ln P is added, but for -log det / 2 */
    double *det_out                  /* (n_modes, n_grid)  multiplied by |A| */
) {
    for (ptrdiff_t g = 0; g < n_grid; g += RUL_WIDTH) {
        rul_vector RS[RUL_LARGEST_SIZE][RUL_LARGEST_SIZE];
        for (int i = 0; i < p; i++)
            for (int j = i; j < p; j++) {
                rul_vector sum = R[i * p + i] * *(const rul_loose *)(S + (i * p + j) * n_grid + g);
                for (int m = i + 1; m <= j; m++) sum += R[i * p + m] * *(const rul_loose *)(S + (m * p + j) * n_grid + g);
                RS[i][j] = sum;
            }
        for (int k = 0; k < n_modes; k++) {
            const double *factor = factors + k * p * p, *mean = means + k * p;
            const double inverse = inverse_sigmas[k];
            rul_vector B[RUL_LARGEST_SIZE][RUL_LARGEST_SIZE], e[RUL_LARGEST_SIZE], d[RUL_LARGEST_SIZE];
            rul_vector L[RUL_LARGEST_SIZE][RUL_LARGEST_SIZE], inverse_pivot[RUL_LARGEST_SIZE];
            rul_vector misfit = {0.0}, det = {0.0};
            det += 1.0;
            for (int i = 0; i < p; i++) {
                e[i] = w[i] * inverse - RS[i][i] * mean[i];
                for (int j = i + 1; j < p; j++) e[i] -= RS[i][j] * mean[j];
                for (int m = 0; m < p; m++) {
                    const int first = m > i ? m : i;
                    B[i][m] = RS[i][first] * factor[first * p + m];
                    for (int j = first + 1; j < p; j++) B[i][m] += RS[i][j] * factor[j * p + m];
                }
            }
            for (int i = 0; i < p; i++) { /* rows of A = I + B'B, factorised as they come */
                rul_vector pivot = B[0][i] * B[0][i] + 1.0, right = B[0][i] * e[0];
                for (int j = 0; j < i; j++) { /* L_ij D_j first, while the row is worked on */
                    rul_vector sum = B[0][i] * B[0][j];
                    for (int m = 1; m < p; m++) sum += B[m][i] * B[m][j];
                    for (int m = 0; m < j; m++) sum -= L[i][m] * L[j][m];
                    L[i][j] = sum;
                }
                for (int m = 1; m < p; m++) {
                    pivot += B[m][i] * B[m][i];
                    right += B[m][i] * e[m];
                }
                for (int m = 0; m < i; m++) {
                    const rul_vector scaled = L[i][m];
                    L[i][m] = scaled * inverse_pivot[m];
                    pivot -= scaled * L[i][m];
                    right -= L[i][m] * d[m];
                }
                inverse_pivot[i] = 1.0 / pivot;
                det *= pivot;
                d[i] = right; /* L u = B'e */
            }
            for (int i = p - 1; i >= 0; i--) {
                d[i] *= inverse_pivot[i];
                for (int m = i + 1; m < p; m++) d[i] -= L[m][i] * d[m];
                misfit += d[i] * d[i];
            }
            for (int i = 0; i < p; i++) {
                rul_vector rest = e[i];
                for (int j = 0; j < p; j++) rest -= B[i][j] * d[j];
                misfit += rest * rest;
            }
            const double constant = n * (RUL_LOG_TWO_PI + log_variances[k]) + rss * inverse * inverse;
            double *total = total_out + k * n_grid + g, *product = det_out + k * n_grid + g;
            *(rul_loose *)total -= 0.5 * (misfit + constant);
            *(rul_loose *)product *= det;
            for (int v = 0; v < RUL_WIDTH; v++)
                if (product[v] > RUL_LARGE) {
                    total[v] -= 0.5 * log(product[v]);
                    product[v] = 1.0;
                }
        }
    }
}

#define RUL_ARGUMENTS                                                                                              \
    int p, ptrdiff_t n_grid, int n_modes, const double *S, const double *R, const double *w, double rss, double n, \
        const double *factors, const double *means, const double *inverse_sigmas, const double *log_variances,     \
        double *total_out, double *det_out
#define RUL_CASE(size)                                                                                             \
    case size:                                                                                                     \
        rul_channel(size, n_grid, n_modes, S, R, w, rss, n, factors, means, inverse_sigmas, log_variances,         \
                    total_out, det_out);                                                                           \
        break
#define RUL_SIZES                                                                                                  \
    switch (p) {                                                                                                   \
        RUL_CASE(1); RUL_CASE(2); RUL_CASE(3); RUL_CASE(4); RUL_CASE(5); RUL_CASE(6); RUL_CASE(7); RUL_CASE(8);    \
    }

static void rul_channel_baseline(RUL_ARGUMENTS) { RUL_SIZES }

#if defined(__x86_64__) && (defined(__GNUC__) || defined(__clang__))
__attribute__((target("avx2,fma"))) static void rul_channel_avx2(RUL_ARGUMENTS) { RUL_SIZES }
#endif

typedef void (*rul_function)(RUL_ARGUMENTS);

static rul_function rul_best(void) {
#if defined(__x86_64__) && (defined(__GNUC__) || defined(__clang__))
    __builtin_cpu_init();
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) return rul_channel_avx2;
#endif
    return rul_channel_baseline;
}

#endif
