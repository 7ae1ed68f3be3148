/* The kernel of _rul_level.h at every instruction level this platform knows, and the choice at run time.
 *
 * Candidates lie side by side, so that each step is one operation on all of them: two in a register at baseline (SSE2,
 * NEON), four with AVX2, eight with AVX-512. Within a level the order of operations is fixed. */
#ifndef CEM_RUL_KERNEL_H
#define CEM_RUL_KERNEL_H

#include <math.h>
#include <stddef.h>
#if defined(__x86_64__)
#include <immintrin.h>
#elif defined(__aarch64__)
#include <arm_neon.h>
#endif

#include "_cpu.h"

#define RUL_WIDTH 8 /* the number of candidates is a multiple of the widest register */
#define RUL_LARGEST_SIZE 8
#define RUL_LARGEST_RANK 16
#define RUL_CONSTANTS 3
#define RUL_MANTISSA_BITS 0x000FFFFFFFFFFFFFULL
#if defined(__clang__)
#define UNROLL _Pragma("clang loop unroll(full)")
#else
#define UNROLL _Pragma("GCC unroll 8")
#endif

#define RUL_ARGUMENTS                                                                                          \
    ptrdiff_t n_grid,       /*                  a multiple of RUL_WIDTH */                                     \
        int n_modes,                                                                                           \
        const double *S,    /* (p, p, n_grid)   S(r), upper triangular, candidates last */                     \
        const double *R,    /* (p, p)           upper triangular */                                            \
        const double *w,    /* (p,) */                                                                         \
        double rss, double n,                                                                                  \
        const double *modes, /* (n_modes, 3 + 2p + p^2)  1/s2, log 2 pi s2, -log |Q|, Q (p), mu (p), U (p, p) */ \
        double *total_out,   /* (n_modes, n_grid)  ln P is added, but for -log |A| / 2 */                      \
        double *mantissa_out, /* (n_modes, n_grid)  |A| is multiplied in; 1 .. 2 before and after */           \
        long long *exponent_out /* (n_modes, n_grid)  the powers of 2 taken out of it, in all `rul_bias` too many */
#define RUL_PASSED n_grid, n_modes, S, R, w, rss, n, modes, total_out, mantissa_out, exponent_out

#define LINKED_RUL_ARGUMENTS                                                                                   \
    int n_channels, const int *sizes, /* (n_channels,)  p */                                                   \
        int r, ptrdiff_t n_grid, int n_modes,                                                                  \
        const double *S, const long long *shift_starts, /* where each channel's (p, p, n_grid) begin */        \
        const double *R,    /* (sum p^2,) */                                                                   \
        const double *w,    /* (sum p,) */                                                                     \
        const double *rss, const double *n, /* (n_channels,) */                                                \
        const double *modes, /* by channel (n_modes, 3 + 2p + p^2 + 2pr): as above, then g and P (p, r) */     \
        const double *directions, /* (n_modes, r)  gamma; or NULL */                                           \
        ptrdiff_t n_squares, /* sum p^2 */                                                                     \
        double *scratch,     /* RUL_WIDTH (2 sum p^2 + 2 sum p + r sum p), aligned to a register */            \
        double *total_out, double *mantissa_out, long long *exponent_out, /* (n_modes, n_grid), as above */    \
        double *mean_out, double *variance_out /* (n_modes, n_grid)  of gamma'f, with directions */

#define LEVEL(name) rul_##name##_baseline
#define WIDTH 2
#define TARGET
#if defined(__aarch64__)
#define FMA(a, b, c) ((V)vfmaq_f64((float64x2_t)(c), (float64x2_t)(a), (float64x2_t)(b)))
#define FNMA(a, b, c) ((V)vfmsq_f64((float64x2_t)(c), (float64x2_t)(a), (float64x2_t)(b)))
#else
#define FMA(a, b, c) ((a) * (b) + (c))
#define FNMA(a, b, c) ((c) - (a) * (b))
#endif
#include "_rul_level.h"

#if defined(__x86_64__)
#define LEVEL(name) rul_##name##_avx2
#define WIDTH 4
#define TARGET __attribute__((target("avx2,fma")))
#define FMA(a, b, c) ((V)_mm256_fmadd_pd((__m256d)(a), (__m256d)(b), (__m256d)(c)))
#define FNMA(a, b, c) ((V)_mm256_fnmadd_pd((__m256d)(a), (__m256d)(b), (__m256d)(c)))
#include "_rul_level.h"

#define LEVEL(name) rul_##name##_avx512
#define WIDTH 8
#define TARGET __attribute__((target("avx512f,avx2,fma")))
#define FMA(a, b, c) ((V)_mm512_fmadd_pd((__m512d)(a), (__m512d)(b), (__m512d)(c)))
#define FNMA(a, b, c) ((V)_mm512_fnmadd_pd((__m512d)(a), (__m512d)(b), (__m512d)(c)))
#include "_rul_level.h"
#define RUL_N_LEVELS 3
#else
#define RUL_N_LEVELS 1
#endif

typedef void (*rul_function)(int p, RUL_ARGUMENTS);

static const rul_function rul_levels[RUL_N_LEVELS] = {
    rul_all_sizes_baseline,
#if RUL_N_LEVELS > 1
    rul_all_sizes_avx2,
    rul_all_sizes_avx512,
#endif
};

typedef void (*linked_rul_function)(LINKED_RUL_ARGUMENTS);

static const linked_rul_function linked_rul_levels[RUL_N_LEVELS] = {
    rul_linked_baseline,
#if RUL_N_LEVELS > 1
    rul_linked_avx2,
    rul_linked_avx512,
#endif
};

/* By how much the exponents that a channel of p coefficients adds are too high: they are biased, by 1023 each. */
static inline long long rul_bias(int p) { return 1023LL * ((p + 2) / 3); }

/* ln P from what the channels have left. */
static inline void rul_finish(
    ptrdiff_t n, long long bias, const double *mantissa, const long long *exponent, double *total
) {
    for (ptrdiff_t i = 0; i < n; i++)
        total[i] -= 0.5 * (log(mantissa[i]) + 0.6931471805599453 * (double)(exponent[i] - bias));
}

#endif
