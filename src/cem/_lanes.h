/* The expectation step with units side by side in SIMD registers: data structures, and one kernel for each instruction
 * level of the machine. The kernel itself, one source for all levels, is _lanes_kernel.h. */

#ifndef CEM_LANES_H
#define CEM_LANES_H

#include <math.h>
#include <stdint.h>

/* A fleet's sufficient statistics (9), interleaved: in every tile, number i of LANES units lies in LANES neighbouring
 * doubles. T tiles, C channels. */
typedef struct {
    int n_channels;
    const int *sizes;             /* (C,)        p_c */
    const double *data;           /* blocks, each aligned to its vectors, that the next two point to */
    const int64_t *factor_at;     /* (T, C)      [upper triangle of R by rows, n]; -1: missing on the whole tile */
    const int64_t *projection_at; /* (T, C)      [w, rss] */
    const int64_t *order;         /* (T, LANES)  unit in the lane, -1: none (at the end of the last tile) */
    const int *known_modes;       /* (T, LANES)  mode of the unit, -1: unknown; null: all unknown */
    const int *tile_modes;        /* (T,)        mode known of all the tile's units, -1: none is known, -2: mixed */
} lanes_pack;

/* Parameters, packed as in parameters.py; P and P2 are the sums of p_c and of p_c^2. */
typedef struct {
    int n_modes;
    const double *log_weights;     /* (K,)     log pi */
    const double *means;           /* (K, P)   mu */
    const double *factors;         /* (K, P2)  Lambda */
    const double *noise_variances; /* (K, C)   sigma^2 */
} lanes_parameters;

/* Where a kernel met what is no number. */
typedef struct {
    int64_t unit;
    int mode, channel; /* -1: no single channel is at fault */
} lanes_failure;

#ifndef LANES_PARTS
#define LANES_PARTS 2
#endif
#define LANES_LEVEL(x, level) LANES_LEVEL_(x, level)
#define LANES_LEVEL_(x, level) lanes_##x##_##level

#if defined(__clang__)
#define UNROLL _Pragma("clang loop unroll(full)")
#else
#define UNROLL _Pragma("GCC unroll 64")
#endif

#if defined(__x86_64__)

#include <cpuid.h>
#include <immintrin.h>

#define NAME(x) LANES_LEVEL(x, baseline)
#define WIDTH 2
#define PARTS LANES_PARTS
#define TARGET
#define FMA(a, b, c) ((a) * (b) + (c))
#define FNMA(a, b, c) ((c) - (a) * (b))
#define MINIMUM(a, b) ((V)_mm_min_pd((__m128d)(a), (__m128d)(b)))
#define BROADCAST 1
#include "_lanes_kernel.h"

#define NAME(x) LANES_LEVEL(x, avx2)
#define WIDTH 4
#define PARTS LANES_PARTS
#define TARGET __attribute__((target("avx2,fma")))
#define FMA(a, b, c) ((V)_mm256_fmadd_pd((__m256d)(a), (__m256d)(b), (__m256d)(c)))
#define FNMA(a, b, c) ((V)_mm256_fnmadd_pd((__m256d)(a), (__m256d)(b), (__m256d)(c)))
#define MINIMUM(a, b) ((V)_mm256_min_pd((__m256d)(a), (__m256d)(b)))
#define BROADCAST 0
#include "_lanes_kernel.h"

#define NAME(x) LANES_LEVEL(x, avx512)
#define WIDTH 8
#define PARTS LANES_PARTS
#define TARGET __attribute__((target("avx512f,avx2,fma")))
#define FMA(a, b, c) ((V)_mm512_fmadd_pd((__m512d)(a), (__m512d)(b), (__m512d)(c)))
#define FNMA(a, b, c) ((V)_mm512_fnmadd_pd((__m512d)(a), (__m512d)(b), (__m512d)(c)))
#define MINIMUM(a, b) ((V)_mm512_min_pd((__m512d)(a), (__m512d)(b)))
#define BROADCAST 0
#include "_lanes_kernel.h"

#define LANES_N_LEVELS 3

/* Whether this processor and its operating system have the level's instructions. By cpuid itself: what some compilers
 * put behind __builtin_cpu_supports answers no to everything. */
static int lanes_available(int level)
{
    unsigned int a, b, c, d, saved, high;
    if (level == 0)
        return 1;
    if (!__get_cpuid(1, &a, &b, &c, &d) || !(c & bit_FMA) || !(c & bit_AVX) || !(c & bit_OSXSAVE))
        return 0;
    __asm__ volatile("xgetbv" : "=a"(saved), "=d"(high) : "c"(0)); /* registers that the operating system saves */
    if (!__get_cpuid_count(7, 0, &a, &b, &c, &d) || !(b & bit_AVX2) || (saved & 0x06) != 0x06)
        return 0;
    return level == 1 || ((b & bit_AVX512F) && (saved & 0xe6) == 0xe6);
}

#elif defined(__aarch64__)

#include <arm_neon.h>

#define NAME(x) LANES_LEVEL(x, baseline)
#define WIDTH 2
#define PARTS LANES_PARTS
#define TARGET
#define FMA(a, b, c) ((V)vfmaq_f64((float64x2_t)(c), (float64x2_t)(a), (float64x2_t)(b)))
#define FNMA(a, b, c) ((V)vfmsq_f64((float64x2_t)(c), (float64x2_t)(a), (float64x2_t)(b)))
#define MINIMUM(a, b) ((V)vminq_f64((float64x2_t)(a), (float64x2_t)(b)))
#define BROADCAST 0
#include "_lanes_kernel.h"

#define LANES_N_LEVELS 1

static int lanes_available(int level)
{
    return level == 0;
}

#else

#define NAME(x) LANES_LEVEL(x, baseline)
#define WIDTH 2
#define PARTS LANES_PARTS
#define TARGET
#define FMA(a, b, c) ((a) * (b) + (c))
#define FNMA(a, b, c) ((c) - (a) * (b))
#define MINIMUM(a, b) SELECT((a) < (b), a, b)
#define BROADCAST 0
#include "_lanes_kernel.h"

#define LANES_N_LEVELS 1

static int lanes_available(int level)
{
    return level == 0;
}

#endif

typedef struct {
    int lanes;
    int64_t (*scratch_size)(const lanes_pack *, int);
    int (*expectation)(const lanes_pack *, const lanes_parameters *, int64_t, int64_t, double, int, double *, double *,
                       double *, double *, lanes_failure *);
    void (*elementary)(int, int64_t, const double *, double *);
} lanes_level;

/* In rising order; bits agree within a level. */
static const lanes_level lanes_levels[LANES_N_LEVELS] = {
    {2 * LANES_PARTS, lanes_scratch_size_baseline, lanes_expectation_baseline, lanes_elementary_baseline},
#if LANES_N_LEVELS > 1
    {4 * LANES_PARTS, lanes_scratch_size_avx2, lanes_expectation_avx2, lanes_elementary_avx2},
    {8 * LANES_PARTS, lanes_scratch_size_avx512, lanes_expectation_avx512, lanes_elementary_avx512},
#endif
};

#endif
