/* QR of channels with gaps of their own, side by side, at the best instruction level of the machine. */
#ifndef CEM_GAPS_H
#define CEM_GAPS_H

#include <math.h>
#include <stddef.h>
#include "_cpu.h"

#define GAPS_LANES 4
#define GAPS_LARGEST_SIZE 6
#if defined(__clang__)
#define UNROLL _Pragma("clang loop unroll(full)")
#else
#define UNROLL _Pragma("GCC unroll 8")
#endif

#define GAPS_ARGUMENTS                                                                                         \
    ptrdiff_t n, int n_channels,   /*               at most GAPS_LANES */                                      \
        const int *channels,       /* (GAPS_LANES,) rows of `readings`; the last again where there are fewer */ \
        const double *design,      /* (p, n)        transposed */                                              \
        const double *readings,    /* (C, n)        transposed; NaN is missing */                              \
        const double *centres,     /* (C, p)        coefficients of the curves to subtract */                  \
        double *work,              /* (GAPS_LANES n (p + 1),)  aligned to 32 bytes */                          \
        double *R_out,             /* (n_channels, p, p) */                                                    \
        double *w_out,             /* (n_channels, p) */                                                       \
        double *rss_out            /* (n_channels,) */
#define GAPS_PASSED n, n_channels, channels, design, readings, centres, work, R_out, w_out, rss_out

#define LEVEL(name) gaps_##name##_baseline
#define TARGET
#include "_gaps_level.h"

#if defined(__x86_64__)
#define LEVEL(name) gaps_##name##_avx2
#define TARGET __attribute__((target("avx2")))
#include "_gaps_level.h"
#endif

/* R, w and rss of up to four channels of a unit, each without the rows that it lacks. Returns 1, and the outputs
 * mean nothing, if a design is too short, too small or too large for sums of squares, or p does not suit the kernel.
 */
static inline int gaps_qr(int wide, int p, GAPS_ARGUMENTS)
{
    if (n <= p) return 1;
#if defined(__x86_64__)
    if (wide) return gaps_any_size_avx2(p, GAPS_PASSED);
#endif
    (void)wide;
    return gaps_any_size_baseline(p, GAPS_PASSED);
}

#endif
