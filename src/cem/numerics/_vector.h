/* Vector registers at one instruction level: types, exponential and logarithm; then the functions of LEVEL_BODY.
 *
 * _levels.h, which says what the macros are, includes this file once per level. */

typedef double NAME(vector) __attribute__((vector_size(8 * WIDTH)));
typedef unsigned long long NAME(bits) __attribute__((vector_size(8 * WIDTH)));

#define V NAME(vector)
#define U NAME(bits)
#define INLINE static inline __attribute__((always_inline)) TARGET
#define SPREAD(x) ((x) - (V){0})                        /* the number x in every lane */
#define SPREAD_BITS(x) ((x) + (U){0})
#define SELECT(m, a, b) ((V)(((U)(m) & (U)(a)) | (~(U)(m) & (U)(b)))) /* a where m is all ones, b where it is zero */

/* Exponential of x <= 709; what lies below -708, down to minus infinity, gives 0. Within 1 ulp.
 *
 * x = n log 2 + r with |r| <= log(2) / 2; e^r by its power series, whose first term left out is below 2^-57. */
INLINE V NAME(exponential)(V x)
{
    const V shift = SPREAD(0x1.8p52); /* adding it rounds to an integer, held in the low bits */
    const U tiny = (U)(x < SPREAD(-708.0));
    x = SELECT(tiny, SPREAD(-708.0), x);
    const V t = FMA(x, SPREAD(0x1.71547652b82fep+0), shift);
    const V n = t - shift;
    V r = FNMA(n, SPREAD(0x1.62e42fee00000p-1), x); /* log 2 in two parts, the first with 32 bits: n log 2 is exact */
    r = FNMA(n, SPREAD(0x1.a39ef35793c76p-33), r);
    const V r2 = r * r, r4 = r2 * r2, r8 = r4 * r4;
    /* (e^r - 1 - r) / r^2 = sum r^i / (i + 2)!, in pairs so that the chain of dependent operations is short */
    const V a = FMA(r, SPREAD(1.0 / 6), SPREAD(1.0 / 2));
    const V b = FMA(r, SPREAD(1.0 / 120), SPREAD(1.0 / 24));
    const V c = FMA(r, SPREAD(1.0 / 5040), SPREAD(1.0 / 720));
    const V d = FMA(r, SPREAD(1.0 / 362880), SPREAD(1.0 / 40320));
    const V e = FMA(r, SPREAD(1.0 / 39916800), SPREAD(1.0 / 3628800));
    const V f = FMA(r, SPREAD(1.0 / 6227020800), SPREAD(1.0 / 479001600));
    const V low = FMA(r4, FMA(r2, d, c), FMA(r2, b, a));
    const V series = FMA(r8, FMA(r2, f, e), low);
    const V result = SPREAD(1.0) + FMA(r2, series, r);
    return (V)(((U)result + ((U)t << 52)) & ~tiny); /* times 2^n, by adding n to the exponent */
}

/* log(m 2^n) for 1 <= m < 2 and an integer n. Within 1 ulp.
 *
 * With m brought to sqrt(1/2) .. sqrt(2), f = m - 1 (exact) and s = f / (2 + f):
 * log m = 2 atanh s = f - s (f - r),  r = 2 s^2 / 3 + 2 s^4 / 5 + ..., first term left out below 2^-55 of the sum. */
INLINE V NAME(logarithm)(V m, V n)
{
    const U large = (U)(m > SPREAD(0x1.6a09e667f3bcdp+0));
    m = SELECT(large, m * SPREAD(0.5), m);
    n = n + (V)(large & (U)SPREAD(1.0));
    const V f = m - SPREAD(1.0);
    const V s = f / (SPREAD(2.0) + f);
    const V z = s * s, z2 = z * z, z4 = z2 * z2;
    const V a = FMA(z, SPREAD(2.0 / 5), SPREAD(2.0 / 3));
    const V b = FMA(z, SPREAD(2.0 / 9), SPREAD(2.0 / 7));
    const V c = FMA(z, SPREAD(2.0 / 13), SPREAD(2.0 / 11));
    const V d = FMA(z, SPREAD(2.0 / 17), SPREAD(2.0 / 15));
    const V e = FMA(z, SPREAD(2.0 / 21), SPREAD(2.0 / 19));
    const V r = z * FMA(z4, FMA(z4, e, FMA(z2, d, c)), FMA(z2, b, a));
    const V rest = FNMA(s, f - r, n * SPREAD(0x1.a39ef35793c76p-33)); /* n times the low part of log 2 */
    return FMA(n, SPREAD(0x1.62e42fee00000p-1), f + rest);
}

/* A sum of biased exponents (0 .. 2^52) as a double, less `bias`: through the mantissa of a number near 2^52. */
INLINE V NAME(exponent_sum)(U exponents, double bias)
{
    return (V)(exponents | SPREAD_BITS(0x4330000000000000ULL)) - SPREAD(0x1p52 + bias);
}

/* Splits x > 0 into its biased exponent, added to *exponent, and its mantissa in 1 .. 2, which it returns. */
INLINE V NAME(mantissa)(V x, U *exponent)
{
    *exponent += (U)x >> 52;
    return (V)(((U)x & SPREAD_BITS(0x000fffffffffffffULL)) | SPREAD_BITS(0x3ff0000000000000ULL));
}

/* log x for normal x > 0. */
INLINE V NAME(log_positive)(V x)
{
    U exponent = {0};
    const V m = NAME(mantissa)(x, &exponent);
    return NAME(logarithm)(m, NAME(exponent_sum)(exponent, 1023.0));
}

/* The sum over lanes, always in the same order. */
INLINE double NAME(total)(V x)
{
    double sum = 0.0;
    for (int lane = 0; lane < WIDTH; lane++)
        sum += x[lane];
    return sum;
}

#include LEVEL_BODY

#undef V
#undef U
#undef INLINE
#undef SPREAD
#undef SPREAD_BITS
#undef SELECT
#undef NAME
#undef WIDTH
#undef TARGET
#undef FMA
#undef FNMA
#undef MINIMUM
#undef BROADCAST
