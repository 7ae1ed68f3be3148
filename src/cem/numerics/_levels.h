/* One source, compiled for every instruction level of the machine.
 *
 * The file that includes this one first defines
 *   LEVEL_PREFIX   what the names of its functions begin with
 *   LEVEL_BODY     the header with its functions, which is included once per level with these macros set:
 *
 *   NAME(x)        x with the prefix and the level's suffix
 *   WIDTH          doubles in a vector register
 *   TARGET         the attribute that lets the compiler use the level's instructions
 *   FMA(a, b, c)   a b + c;  FNMA(a, b, c)  c - a b;  MINIMUM(a, b)
 *   BROADCAST      1: constants are best stored once per lane of a register, 0: the load instruction spreads them
 *
 * and whatever _vector.h defines. */

#ifndef CEM_LEVELS_H
#define CEM_LEVELS_H

#include <math.h>
#include <stdint.h>

#define LEVEL_NAME(prefix, x, level) LEVEL_NAME_(prefix, x, level)
#define LEVEL_NAME_(prefix, x, level) prefix##_##x##_##level

#if defined(__clang__)
#define UNROLL _Pragma("clang loop unroll(full)")
#else
#define UNROLL _Pragma("GCC unroll 64")
#endif

#if defined(__x86_64__)

#include <cpuid.h>
#include <immintrin.h>

#define NAME(x) LEVEL_NAME(LEVEL_PREFIX, x, baseline)
#define WIDTH 2
#define TARGET
#define FMA(a, b, c) ((a) * (b) + (c))
#define FNMA(a, b, c) ((c) - (a) * (b))
#define MINIMUM(a, b) ((V)_mm_min_pd((__m128d)(a), (__m128d)(b)))
#define BROADCAST 1
#include "_vector.h"

#define NAME(x) LEVEL_NAME(LEVEL_PREFIX, x, avx2)
#define WIDTH 4
#define TARGET __attribute__((target("avx2,fma")))
#define FMA(a, b, c) ((V)_mm256_fmadd_pd((__m256d)(a), (__m256d)(b), (__m256d)(c)))
#define FNMA(a, b, c) ((V)_mm256_fnmadd_pd((__m256d)(a), (__m256d)(b), (__m256d)(c)))
#define MINIMUM(a, b) ((V)_mm256_min_pd((__m256d)(a), (__m256d)(b)))
#define BROADCAST 0
#include "_vector.h"

#define NAME(x) LEVEL_NAME(LEVEL_PREFIX, x, avx512)
#define WIDTH 8
#define TARGET __attribute__((target("avx512f,avx2,fma")))
#define FMA(a, b, c) ((V)_mm512_fmadd_pd((__m512d)(a), (__m512d)(b), (__m512d)(c)))
#define FNMA(a, b, c) ((V)_mm512_fnmadd_pd((__m512d)(a), (__m512d)(b), (__m512d)(c)))
#define MINIMUM(a, b) ((V)_mm512_min_pd((__m512d)(a), (__m512d)(b)))
#define BROADCAST 0
#include "_vector.h"

#define N_LEVELS 3

/* Whether this processor and its operating system have the level's instructions. Asks cpuid directly, because
 * __builtin_cpu_supports of some compilers always answers no. */
static inline int level_available(int level)
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

#define NAME(x) LEVEL_NAME(LEVEL_PREFIX, x, baseline)
#define WIDTH 2
#define TARGET
#define FMA(a, b, c) ((V)vfmaq_f64((float64x2_t)(c), (float64x2_t)(a), (float64x2_t)(b)))
#define FNMA(a, b, c) ((V)vfmsq_f64((float64x2_t)(c), (float64x2_t)(a), (float64x2_t)(b)))
#define MINIMUM(a, b) ((V)vminq_f64((float64x2_t)(a), (float64x2_t)(b)))
#define BROADCAST 0
#include "_vector.h"

#define N_LEVELS 1

static inline int level_available(int level)
{
    return level == 0;
}

#else

#define NAME(x) LEVEL_NAME(LEVEL_PREFIX, x, baseline)
#define WIDTH 2
#define TARGET
#define FMA(a, b, c) ((a) * (b) + (c))
#define FNMA(a, b, c) ((c) - (a) * (b))
#define MINIMUM(a, b) SELECT((a) < (b), a, b)
#define BROADCAST 0
#include "_vector.h"

#define N_LEVELS 1

static inline int level_available(int level)
{
    return level == 0;
}

#endif

#endif
