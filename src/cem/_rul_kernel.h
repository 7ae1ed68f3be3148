/* ln P(x | k, r) of one unit for all candidate remaining lives: model.md (10)-(12) with R S(r) in place of R.
 *
 * Candidates lie side by side, RUL_WIDTH at a time, so that each step is one operation on all of them. A is factorised
 * root-free, A = L D L', whose pivots are all at least 1; their product over channels becomes a logarithm at the end. */
#ifndef CEM_RUL_KERNEL_H
#define CEM_RUL_KERNEL_H

#include <math.h>
#include <stddef.h>

#define RUL_WIDTH 8
#define RUL_LARGEST_SIZE 8
#define RUL_LARGE 1e100
#define RUL_LOG_TWO_PI 1.8378770664093453

/* One channel; p is a constant wherever this is inlined. */
static inline __attribute__((always_inline)) void rul_channel(
    const int p,
    const ptrdiff_t n_grid,          /*             a multiple of RUL_WIDTH */
    const int n_modes,
    const double *S,                 /* (p, p, n_grid)   S(r), candidates last */
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
        double RS[RUL_LARGEST_SIZE][RUL_LARGEST_SIZE][RUL_WIDTH];
        for (int i = 0; i < p; i++)
            for (int j = 0; j < p; j++) {
                double sum[RUL_WIDTH] = {0.0};
                for (int m = i; m < p; m++) {
                    const double *s = S + (m * p + j) * n_grid + g;
                    for (int v = 0; v < RUL_WIDTH; v++) sum[v] += R[i * p + m] * s[v];
                }
                for (int v = 0; v < RUL_WIDTH; v++) RS[i][j][v] = sum[v];
            }
        for (int k = 0; k < n_modes; k++) {
            const double *factor = factors + k * p * p, *mean = means + k * p;
            const double inverse = inverse_sigmas[k];
            double B[RUL_LARGEST_SIZE][RUL_LARGEST_SIZE][RUL_WIDTH], e[RUL_LARGEST_SIZE][RUL_WIDTH];
            double L[RUL_LARGEST_SIZE][RUL_LARGEST_SIZE][RUL_WIDTH], inverse_pivot[RUL_LARGEST_SIZE][RUL_WIDTH];
            double d[RUL_LARGEST_SIZE][RUL_WIDTH], misfit[RUL_WIDTH] = {0.0}, det[RUL_WIDTH];
            for (int i = 0; i < p; i++) {
                for (int v = 0; v < RUL_WIDTH; v++) e[i][v] = w[i] * inverse;
                for (int j = 0; j < p; j++)
                    for (int v = 0; v < RUL_WIDTH; v++) e[i][v] -= RS[i][j][v] * mean[j];
                for (int m = 0; m < p; m++) {
                    double sum[RUL_WIDTH] = {0.0};
                    for (int j = m; j < p; j++)
                        for (int v = 0; v < RUL_WIDTH; v++) sum[v] += RS[i][j][v] * factor[j * p + m];
                    for (int v = 0; v < RUL_WIDTH; v++) B[i][m][v] = sum[v];
                }
            }
            for (int v = 0; v < RUL_WIDTH; v++) det[v] = 1.0;
            for (int i = 0; i < p; i++) { /* rows of A = I + B'B, factorised as they come */
                double right[RUL_WIDTH] = {0.0}, pivot[RUL_WIDTH];
                for (int j = 0; j < i; j++) { /* L_ij D_j first, while the row is worked on */
                    double sum[RUL_WIDTH] = {0.0};
                    for (int m = 0; m < p; m++)
                        for (int v = 0; v < RUL_WIDTH; v++) sum[v] += B[m][i][v] * B[m][j][v];
                    for (int m = 0; m < j; m++)
                        for (int v = 0; v < RUL_WIDTH; v++) sum[v] -= L[i][m][v] * L[j][m][v];
                    for (int v = 0; v < RUL_WIDTH; v++) L[i][j][v] = sum[v];
                }
                for (int v = 0; v < RUL_WIDTH; v++) pivot[v] = 1.0;
                for (int m = 0; m < p; m++)
                    for (int v = 0; v < RUL_WIDTH; v++) pivot[v] += B[m][i][v] * B[m][i][v];
                for (int m = 0; m < i; m++)
                    for (int v = 0; v < RUL_WIDTH; v++) {
                        const double scaled = L[i][m][v];
                        L[i][m][v] = scaled * inverse_pivot[m][v];
                        pivot[v] -= scaled * L[i][m][v];
                    }
                for (int v = 0; v < RUL_WIDTH; v++) {
                    inverse_pivot[i][v] = 1.0 / pivot[v];
                    det[v] *= pivot[v];
                }
                for (int m = 0; m < p; m++)
                    for (int v = 0; v < RUL_WIDTH; v++) right[v] += B[m][i][v] * e[m][v];
                for (int m = 0; m < i; m++)
                    for (int v = 0; v < RUL_WIDTH; v++) right[v] -= L[i][m][v] * d[m][v];
                for (int v = 0; v < RUL_WIDTH; v++) d[i][v] = right[v]; /* L u = B'e */
            }
            for (int i = p - 1; i >= 0; i--) {
                for (int v = 0; v < RUL_WIDTH; v++) d[i][v] *= inverse_pivot[i][v];
                for (int m = i + 1; m < p; m++)
                    for (int v = 0; v < RUL_WIDTH; v++) d[i][v] -= L[m][i][v] * d[m][v];
                for (int v = 0; v < RUL_WIDTH; v++) misfit[v] += d[i][v] * d[i][v];
            }
            for (int i = 0; i < p; i++) {
                double rest[RUL_WIDTH];
                for (int v = 0; v < RUL_WIDTH; v++) rest[v] = e[i][v];
                for (int j = 0; j < p; j++)
                    for (int v = 0; v < RUL_WIDTH; v++) rest[v] -= B[i][j][v] * d[j][v];
                for (int v = 0; v < RUL_WIDTH; v++) misfit[v] += rest[v] * rest[v];
            }
            const double constant = n * (RUL_LOG_TWO_PI + log_variances[k]) + rss * inverse * inverse;
            double *total = total_out + k * n_grid + g, *product = det_out + k * n_grid + g;
            for (int v = 0; v < RUL_WIDTH; v++) {
                total[v] -= 0.5 * (constant + misfit[v]);
                product[v] *= det[v];
            }
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
