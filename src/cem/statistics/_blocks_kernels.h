/* The lane kernels at every instruction level this platform knows, and the choice between them at run time.
 *
 * Baseline: two lanes in a register (SSE2, NEON). AVX2 with FMA: four. AVX-512: four as well, with twice as many
 * registers, so that the factorisation of (10) need not be put aside; the bits are those of AVX2. Within a level the
 * order of operations is fixed, so every machine of the level gives the same bits; baseline differs from the other two
 * in the last bits (FMA rounds once).
 *
 * Layout of the constants of one block, (..., LANES) doubles, T = p(p+1)/2; padding lanes hold zeros throughout:
 *     coordinates   b (p), S (T; the diagonal as reciprocals), 1/s
 *     modes         1/s2_0, log 2 pi s2_0 of the first mode, then per mode
 *                   1/s2, 1/s2 - 1/s2_0, log s2 - log s2_0, U (T; on the diagonal Q in place of 1), mu (p), where
 *                   Sigma / s2 = U Q^-1 U'
 * The part that all modes share is summed separately from their differences. After a million readings, whose
 * log-density is of the order of 1e7, the log-odds are then exact to 1e-12 rather than 1e-9.
 */
#ifndef CEM_BLOCKS_KERNELS_H
#define CEM_BLOCKS_KERNELS_H

#include <math.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include "_cpu.h"
#if defined(__SSE2__)
#include <immintrin.h>
#elif defined(__aarch64__)
#include <arm_neon.h>
#endif

#define LANES 4
#define LARGEST 1e30 /* |phi~|, |x~| beyond this could overflow when squared and summed */
#define NOTHING 1e-150 /* the diagonal of R before the first reading; its square is not zero */
#define MANTISSA_BITS 0x000FFFFFFFFFFFFFULL
#define ALWAYS_INLINE __attribute__((always_inline))
#if defined(__clang__)
#define UNROLL _Pragma("unroll")
#else
#define UNROLL _Pragma("GCC unroll 4")
#endif

typedef struct {
    int n_modes, n_blocks;
    const int *sizes;                    /* (n_blocks,)  p of the block */
    const ptrdiff_t *coordinate_offsets; /* (n_blocks,)  where the block starts in each array, in doubles */
    const ptrdiff_t *mode_offsets, *row_offsets, *state_offsets;
    const int *phi_of_lane, *x_of_lane;  /* (n_blocks, LANES) */
    const int *one_basis;                /* (n_blocks,)  whether the lanes have the same basis */
    const double *coordinates, *modes;
} lanes_t;

typedef double v2 __attribute__((vector_size(16), may_alias));
typedef unsigned long long u2 __attribute__((vector_size(16), may_alias));

static inline ALWAYS_INLINE v2 sqrt_v2(v2 x) {
#if defined(__SSE2__)
    return (v2)_mm_sqrt_pd((__m128d)x);
#elif defined(__aarch64__)
    return (v2)vsqrtq_f64((float64x2_t)x);
#else
    return (v2){sqrt(x[0]), sqrt(x[1])};
#endif
}

#define LEVEL(name) name##_baseline
#define WIDTH 2
#define V v2
#define U u2
#define TARGET
#define V_SAME(x) ((v2){(x), (x)})
#define V_SQRT(x) sqrt_v2(x)
#define V_MADD(a, b, c) ((c) + (a) * (b))
#define V_NMADD(a, b, c) ((c) - (a) * (b))
#include "_blocks_level.h"
#undef LEVEL
#undef WIDTH
#undef V
#undef U
#undef TARGET
#undef V_SAME
#undef V_SQRT
#undef V_MADD
#undef V_NMADD

#if defined(__x86_64__)
typedef double v4 __attribute__((vector_size(32), may_alias));
typedef unsigned long long u4 __attribute__((vector_size(32), may_alias));
#define WIDTH 4
#define V v4
#define U u4
#define V_SAME(x) ((v4){(x), (x), (x), (x)})
#define V_SQRT(x) ((v4)_mm256_sqrt_pd((__m256d)(x)))
#define V_MADD(a, b, c) ((v4)_mm256_fmadd_pd((__m256d)(a), (__m256d)(b), (__m256d)(c)))
#define V_NMADD(a, b, c) ((v4)_mm256_fnmadd_pd((__m256d)(a), (__m256d)(b), (__m256d)(c)))
#define LEVEL(name) name##_avx2
#define TARGET __attribute__((target("avx2,fma")))
#include "_blocks_level.h"
#undef LEVEL
#undef TARGET
#define LEVEL(name) name##_avx512
#define TARGET __attribute__((target("avx2,fma,avx512f,avx512vl")))
#include "_blocks_level.h"
#undef LEVEL
#undef TARGET
#undef WIDTH
#undef V
#undef U
#undef V_SAME
#undef V_SQRT
#undef V_MADD
#undef V_NMADD
#endif

/* Whether the level can run here; that of AVX-512 needs its registers of 256 bits too. */
static int lanes_has_level(int level) {
#if defined(__x86_64__)
    unsigned int a, b, c, d;
    if (level == 2 && (!__get_cpuid_count(7, 0, &a, &b, &c, &d) || !(b & bit_AVX512VL))) return 0;
#endif
    return cpu_has_level(level);
}

#if defined(__x86_64__)
#define DISPATCH(level, name, ...)                     \
    ((level) == 2   ? name##_avx512(__VA_ARGS__)       \
     : (level) == 1 ? name##_avx2(__VA_ARGS__)         \
                    : name##_baseline(__VA_ARGS__))
#else
#define DISPATCH(level, name, ...) name##_baseline(__VA_ARGS__)
#endif

/* One reading in internal coordinates, blocks first .. stop - 1, into rows; nonzero where a number is too large. */
static inline int lanes_prepare(
    int level, const lanes_t *lanes, int first, int stop, const double *phi, const double *x, double *rows,
    int *n_observed
) {
    return DISPATCH(level, prepare, lanes, first, stop, phi, x, rows, n_observed);
}

/* The prepared reading enters the state; (9). */
static inline void lanes_rotate(int level, const lanes_t *lanes, int first, int stop, double *rows, double *states) {
    DISPATCH(level, rotate, lanes, first, stop, rows, states);
}

/* (10), (11): sums over channels, (2 + 4K, LANES); scratch (2p^2 + 2p, LANES) for the largest p. */
static inline void lanes_read(int level, const lanes_t *lanes, const double *states, double *sums, double *scratch) {
    DISPATCH(level, read, lanes, states, sums, scratch);
}

/* The states of units without readings. */
static inline void lanes_clear(const lanes_t *lanes, size_t n_doubles, double *states) {
    memset(states, 0, n_doubles * sizeof(double));
    for (int block = 0; block < lanes->n_blocks; block++) {
        const int p = lanes->sizes[block];
        double *diagonal = states + lanes->state_offsets[block];
        for (int i = 0; i < p; diagonal += LANES * (p - i), i++)
            for (int lane = 0; lane < LANES; lane++) diagonal[lane] = NOTHING;
    }
}

/* Forgetting: R and w by the root of the weight, rss and n by the weight. */
static inline void lanes_scale(const lanes_t *lanes, double root, double weight, double *states) {
    for (int block = 0; block < lanes->n_blocks; block++) {
        const int p = lanes->sizes[block], T = p * (p + 1) / 2;
        double *state = states + lanes->state_offsets[block], *diagonal = state;
        for (int i = 0; i < LANES * (T + p); i++) state[i] *= root;
        for (int i = LANES * (T + p); i < LANES * (T + p + 3); i++) state[i] *= weight;
        for (int i = 0; i < p; diagonal += LANES * (p - i), i++)
            for (int lane = 0; lane < LANES; lane++)
                if (diagonal[lane] < NOTHING) diagonal[lane] = NOTHING;
    }
}

/* Memory for vectors; NULL where there is none. */
static inline double *lanes_allocate(size_t n_doubles) {
    return (double *)aligned_alloc(64, (n_doubles * sizeof(double) + 127) / 64 * 64);
}

#endif
