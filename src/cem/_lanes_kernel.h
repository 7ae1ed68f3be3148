/* The expectation step (10)-(14) of model.md with units side by side, one in each lane of a vector register.
 *
 * _lanes.h includes this file once per instruction level, with these macros set:
 *   NAME(x)        x with the level's suffix
 *   WIDTH          doubles in a vector register
 *   PARTS          registers of units in a tile, which thus holds LANES = WIDTH PARTS units
 *   TARGET         the attribute that lets the compiler use the level's instructions
 *   FMA(a, b, c)   a b + c;  FNMA(a, b, c)  c - a b;  MINIMUM(a, b)
 *   BROADCAST      1: parameters are stored once per lane of a register, 0: the load instruction spreads them
 *
 * p, the number of coefficients, is a compile-time constant: every function below that takes `p` is inlined into
 * instances p = 1..8, where all loops unroll and all small arrays become registers. Hence the loops run over constant
 * bounds with conditions inside, and triangles are not skipped by bounds.
 *
 * A chain of dependent operations leaves most of a processor's arithmetic idle. So for small p the parts of a tile go
 * through the arithmetic together, operation by operation; for larger p, whose matrices of one part alone overflow the
 * registers, one after the other.
 */

#define LANES (WIDTH * PARTS)

typedef double NAME(vector) __attribute__((vector_size(8 * WIDTH)));
typedef unsigned long long NAME(bits) __attribute__((vector_size(8 * WIDTH)));

/* One number of each unit of a tile. */
typedef struct {
    NAME(vector) part[PARTS];
} NAME(tile);
typedef struct {
    NAME(bits) part[PARTS];
} NAME(tile_bits);

#define V NAME(vector)
#define U NAME(bits)
#define T NAME(tile)
#define TU NAME(tile_bits)
#define INLINE static inline __attribute__((always_inline)) TARGET
#define SPREAD(x) ((x) - (V){0})                        /* the number x in every lane */
#define SPREAD_BITS(x) ((x) + (U){0})
#define SELECT(m, a, b) ((V)(((U)(m) & (U)(a)) | (~(U)(m) & (U)(b)))) /* a where m is all ones, b where it is zero */

/* One of the numbers that (k, c) share between units. */
#if BROADCAST
#define PARAMETER(x, i) (*(const V *)((x) + (i) * WIDTH))
#define PARAMETER_STRIDE WIDTH
#else
#define PARAMETER(x, i) SPREAD((x)[i])
#define PARAMETER_STRIDE 1
#endif

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

#define EACH_PART UNROLL for (int h = 0; h < parts; h++)
#define PARTS_TOGETHER(p) ((p) <= 4 ? PARTS : 1)

/* Arithmetic on the first `parts` parts of tiles: a b + c */
INLINE T NAME(fma)(const int parts, T a, T b, T c)
{
    EACH_PART c.part[h] = FMA(a.part[h], b.part[h], c.part[h]);
    return c;
}

/* c - a b */
INLINE T NAME(fnma)(const int parts, T a, T b, T c)
{
    EACH_PART c.part[h] = FNMA(a.part[h], b.part[h], c.part[h]);
    return c;
}

INLINE T NAME(times)(const int parts, T a, T b)
{
    EACH_PART a.part[h] = a.part[h] * b.part[h];
    return a;
}

INLINE T NAME(plus)(const int parts, T a, T b)
{
    EACH_PART a.part[h] = a.part[h] + b.part[h];
    return a;
}

/* The number x for all units */
INLINE T NAME(all)(const int parts, V x)
{
    T result;
    EACH_PART result.part[h] = x;
    return result;
}

INLINE T NAME(load)(const int parts, const double *x)
{
    T result;
    EACH_PART result.part[h] = *(const V *)(x + h * WIDTH);
    return result;
}

/* Parts at .. at + parts - 1 of *x */
INLINE T NAME(get)(const int parts, const int at, const T *x)
{
    T result;
    EACH_PART result.part[h] = x->part[at + h];
    return result;
}

INLINE void NAME(put)(const int parts, const int at, T *x, T value)
{
    EACH_PART x->part[at + h] = value.part[h];
}

#define MULTIPLY_ADD(a, b, c) NAME(fma)(parts, a, b, c)
#define MULTIPLY_SUBTRACT(a, b, c) NAME(fnma)(parts, a, b, c)
#define TIMES(a, b) NAME(times)(parts, a, b)
#define PLUS(a, b) NAME(plus)(parts, a, b)
#define ALL(x) NAME(all)(parts, x)
#define LOAD(x) NAME(load)(parts, (x) + at * WIDTH)
#define GET(x) NAME(get)(parts, at, &(x))
#define PUT(x, value) NAME(put)(parts, at, &(x), value)

/* (10)-(13) of one channel of one tile, for modes first .. last - 1.
 *
 * No square roots: A = L diag(d) L', with d the squares of the diagonal of G. The determinants of all channels are
 * multiplied, mantissas apart from exponents, so that a unit and mode need one logarithm for all its channels. */
INLINE void NAME(expect)(
    const int p,
    const int parts, /* parts at .. at + parts - 1 of the tile are done together */
    const int at,
    const double *restrict factor,     /* (q + 1, LANES)  upper triangle of R by rows, then n; q = p (p + 1) / 2 */
    const double *restrict projection, /* (p + 1, LANES)  w, rss */
    const double *restrict parameters, /* (K, q + p + 3)  lower triangle of Lambda / sigma by rows, mu, 1 / sigma,
                                                          1 / sigma^2, log 2 pi sigma^2 */
    int first, int last,
    T *restrict misfits,               /* (K,)            in, out: n log 2 pi sigma^2 + quadratic form of (11) */
    T *restrict mantissas,             /* (K,)            in, out: of the product of determinants */
    TU *restrict exponents,            /* (K,)            in, out: of the product of determinants, biased */
    T *restrict smallest,              /* (1,)            in, out: smallest pivot met */
    T *restrict moments_out            /* (K, q + p + 1)  residual (13), E d, lower triangle of A^-1 + E d E d' */
)
{
    const int q = p * (p + 1) / 2;
    const T one = ALL(SPREAD(1.0));
    T R[8][8], w[8];
    UNROLL for (int i = 0; i < p; i++) {
        UNROLL for (int j = 0; j < p; j++)
            if (j >= i)
                R[i][j] = LOAD(factor + (i * p - i * (i - 1) / 2 + j - i) * LANES);
        w[i] = LOAD(projection + i * LANES);
    }
    const T n = LOAD(factor + q * LANES);
    const T rss = LOAD(projection + p * LANES);
    T least = GET(*smallest);

    for (int k = first; k < last; k++) {
        const double *restrict theta = parameters + k * (q + p + 3) * PARAMETER_STRIDE;

        /* (10): B = R Lambda / sigma, e = (w - R mu) / sigma */
        T B[8][8], e[8];
        UNROLL for (int i = 0; i < p; i++) {
            UNROLL for (int j = 0; j < p; j++) {
                const int start = i > j ? i : j; /* R is upper, Lambda lower triangular */
                T sum = TIMES(R[i][start], ALL(PARAMETER(theta, start * (start + 1) / 2 + j)));
                UNROLL for (int m = 0; m < p; m++)
                    if (m > start)
                        sum = MULTIPLY_ADD(R[i][m], ALL(PARAMETER(theta, m * (m + 1) / 2 + j)), sum);
                B[i][j] = sum;
            }
            T rest = w[i];
            UNROLL for (int m = 0; m < p; m++)
                if (m >= i)
                    rest = MULTIPLY_SUBTRACT(R[i][m], ALL(PARAMETER(theta, q + m)), rest);
            e[i] = TIMES(rest, ALL(PARAMETER(theta, q + p)));
        }

        /* A = I + B'B (lower triangle), z = B'e */
        T A[8][8], z[8];
        UNROLL for (int i = 0; i < p; i++) {
            UNROLL for (int j = 0; j < p; j++)
                if (j <= i) {
                    T sum = i == j ? MULTIPLY_ADD(B[0][i], B[0][j], one) : TIMES(B[0][i], B[0][j]);
                    UNROLL for (int m = 1; m < p; m++)
                        sum = MULTIPLY_ADD(B[m][i], B[m][j], sum);
                    A[i][j] = sum;
                }
            T sum = TIMES(B[0][i], e[0]);
            UNROLL for (int m = 1; m < p; m++)
                sum = MULTIPLY_ADD(B[m][i], e[m], sum);
            z[i] = sum;
        }

        /* A = L diag(d) L', column by column; L takes the place of A below its diagonal, L^-1 z that of z */
        T inverse[8]; /* 1 / d */
        T determinant = one, mantissa = GET(mantissas[k]);
        TU exponent;
        EACH_PART exponent.part[h] = exponents[k].part[at + h];
        UNROLL for (int j = 0; j < p; j++) {
            const T d = A[j][j];
            EACH_PART inverse[j].part[h] = one.part[h] / d.part[h];
            EACH_PART least.part[h] = MINIMUM(d.part[h], least.part[h]);
            determinant = j % 4 == 0 ? d : TIMES(determinant, d);
            if (j % 4 == 3 || j == p - 1)
                EACH_PART mantissa.part[h] =
                    NAME(mantissa)(mantissa.part[h] * determinant.part[h], &exponent.part[h]);
            UNROLL for (int i = 0; i < p; i++)
                if (i > j) {
                    const T l = TIMES(A[i][j], inverse[j]);
                    UNROLL for (int m = 0; m < p; m++)
                        if (m > j && m <= i)
                            A[i][m] = MULTIPLY_SUBTRACT(l, A[m][j], A[i][m]);
                    z[i] = MULTIPLY_SUBTRACT(l, z[j], z[i]);
                }
            UNROLL for (int i = 0; i < p; i++)
                if (i > j)
                    A[i][j] = TIMES(A[i][j], inverse[j]);
        }
        PUT(mantissas[k], mantissa);
        EACH_PART exponents[k].part[at + h] = exponent.part[h];

        /* (12): E d = L'^-1 diag(d)^-1 L^-1 B'e */
        T mean[8];
        UNROLL for (int reverse = 0; reverse < p; reverse++) {
            const int j = p - 1 - reverse;
            T sum = TIMES(z[j], inverse[j]);
            UNROLL for (int i = 0; i < p; i++)
                if (i > j)
                    sum = MULTIPLY_SUBTRACT(A[i][j], mean[i], sum);
            mean[j] = sum;
        }

        /* rss / sigma^2 + |e - B E d|^2, never |e|^2 - |u|^2; then (11) */
        T residual = TIMES(rss, ALL(PARAMETER(theta, q + p + 1))), shrinkage = TIMES(mean[0], mean[0]);
        UNROLL for (int i = 0; i < p; i++) {
            T rest = e[i];
            UNROLL for (int j = 0; j < p; j++)
                rest = MULTIPLY_SUBTRACT(B[i][j], mean[j], rest);
            residual = MULTIPLY_ADD(rest, rest, residual);
            if (i > 0)
                shrinkage = MULTIPLY_ADD(mean[i], mean[i], shrinkage);
        }
        const T misfit = PLUS(GET(misfits[k]), PLUS(residual, shrinkage));
        PUT(misfits[k], MULTIPLY_ADD(n, ALL(PARAMETER(theta, q + p + 2)), misfit));

        /* -L^-1 in place of L, and diag(d)^-1 L^-1 above the diagonal, transposed */
        UNROLL for (int j = 0; j < p; j++)
            UNROLL for (int i = 0; i < p; i++)
                if (i > j) {
                    T sum = A[i][j];
                    UNROLL for (int m = 0; m < p; m++)
                        if (m > j && m < i)
                            sum = MULTIPLY_SUBTRACT(A[i][m], A[m][j], sum);
                    A[i][j] = sum;
                }
        UNROLL for (int j = 0; j < p; j++)
            UNROLL for (int i = 0; i < p; i++)
                if (i > j)
                    A[j][i] = TIMES(inverse[i], A[i][j]);

        /* A^-1 = L^-T diag(d)^-1 L^-1, its trace, and A^-1 + E d E d' */
        T *restrict moments = moments_out + k * (q + p + 1);
        T trace = one;
        UNROLL for (int i = 0; i < p; i++) {
            PUT(moments[1 + i], mean[i]);
            UNROLL for (int j = 0; j < p; j++)
                if (j <= i) {
                    T sum;
                    if (i == j) {
                        sum = inverse[i];
                        UNROLL for (int m = 0; m < p; m++)
                            if (m > i)
                                sum = MULTIPLY_ADD(A[i][m], A[m][j], sum);
                        trace = i == 0 ? sum : PLUS(trace, sum);
                        sum = MULTIPLY_ADD(mean[i], mean[j], sum);
                    } else {
                        sum = MULTIPLY_SUBTRACT(inverse[i], A[i][j], TIMES(mean[i], mean[j]));
                        UNROLL for (int m = 0; m < p; m++)
                            if (m > i)
                                sum = MULTIPLY_ADD(A[i][m], A[m][j], sum);
                    }
                    PUT(moments[1 + p + i * (i + 1) / 2 + j], sum);
                }
        }
        EACH_PART moments[0].part[at + h] = residual.part[h] + (SPREAD((double)p) - trace.part[h]); /* (13) */
    }
    PUT(*smallest, least);
}

/* Adds responsibility times moment to the sums (14) of one channel. Lanes with n = 0 add nothing. */
INLINE void NAME(add)(
    const int p,
    const double *restrict factor,  /* (q + 1, LANES)  of which n is read */
    int first, int last,
    const T *restrict weights,      /* (K,)            responsibilities */
    const T *restrict moments,      /* (K, q + p + 1)  of `expect` */
    V *restrict sums                /* (K, q + p + 3)  in, out: N, n, then as moments */
)
{
    const int parts = PARTS, q = p * (p + 1) / 2;
    const T n = NAME(load)(PARTS, factor + q * LANES);
    for (int k = first; k < last; k++) {
        const T *restrict moment = moments + k * (q + p + 1);
        V *restrict sum = sums + k * (q + p + 3);
        T weight;
        EACH_PART {
            weight.part[h] = (V)((U)weights[k].part[h] & (U)(n.part[h] > SPREAD(0.0)));
            sum[0] = sum[0] + weight.part[h];
            sum[1] = FMA(weight.part[h], n.part[h], sum[1]);
        }
        UNROLL for (int i = 0; i < q + p + 1; i++) {
            V total = sum[2 + i];
            EACH_PART total = FMA(weight.part[h], moment[i].part[h], total);
            sum[2 + i] = total;
        }
    }
}

typedef void (*NAME(expect_function))(
    const double *, const double *, const double *, int, int, T *, T *, TU *, T *, T *);
typedef void (*NAME(add_function))(const double *, int, int, const T *, const T *, V *);

#define INSTANCE(p)                                                                                                   \
    static TARGET void NAME(expect_##p)(const double *factor, const double *projection, const double *parameters,     \
                                        int first, int last, T *misfits, T *mantissas, TU *exponents, T *smallest,    \
                                        T *moments_out)                                                               \
    {                                                                                                                 \
        for (int at = 0; at < PARTS; at += PARTS_TOGETHER(p))                                                         \
            NAME(expect)(p, PARTS_TOGETHER(p), at, factor, projection, parameters, first, last, misfits, mantissas,   \
                         exponents, smallest, moments_out);                                                           \
    }                                                                                                                 \
    static TARGET void NAME(add_##p)(const double *factor, int first, int last, const T *weights, const T *moments,   \
                                     V *sums)                                                                         \
    {                                                                                                                 \
        NAME(add)(p, factor, first, last, weights, moments, sums);                                                    \
    }

INSTANCE(1)
INSTANCE(2)
INSTANCE(3)
INSTANCE(4)
INSTANCE(5)
INSTANCE(6)
INSTANCE(7)
INSTANCE(8)

static const NAME(expect_function) NAME(expect_instances)[9] = {
    0, NAME(expect_1), NAME(expect_2), NAME(expect_3), NAME(expect_4),
    NAME(expect_5), NAME(expect_6), NAME(expect_7), NAME(expect_8)};
static const NAME(add_function) NAME(add_instances)[9] = {
    0, NAME(add_1), NAME(add_2), NAME(add_3), NAME(add_4), NAME(add_5), NAME(add_6), NAME(add_7), NAME(add_8)};

/* Doubles of scratch that `expectation` needs. */
static int64_t NAME(scratch_size)(const lanes_pack *pack, int n_modes)
{
    int64_t size = 0;
    for (int c = 0; c < pack->n_channels; c++) {
        const int p = pack->sizes[c], q = p * (p + 1) / 2;
        size += (q + p + 1) * PARTS + (q + p + 3) * (1 + PARAMETER_STRIDE); /* moments; sums and parameters */
    }
    return WIDTH * ((size + 6 * PARTS) * n_modes + PARTS + 1); /* see `expectation` */
}

/* Lambda / sigma, mu, 1 / sigma, 1 / sigma^2 and log 2 pi sigma^2 in the order `expect` reads them. */
static void NAME(prepare)(
    const lanes_pack *pack, const lanes_parameters *theta,
    double *restrict prepared_out /* channel by channel: (K, q + p + 3) */
)
{
    const int C = pack->n_channels, K = theta->n_modes;
    int64_t P = 0, P2 = 0, mean_at = 0, factor_at = 0;
    for (int c = 0; c < C; c++) {
        P += pack->sizes[c];
        P2 += (int64_t)pack->sizes[c] * pack->sizes[c];
    }
    for (int c = 0; c < C; c++) {
        const int p = pack->sizes[c];
        for (int k = 0; k < K; k++) {
            const double variance = theta->noise_variances[(int64_t)k * C + c], root = 1.0 / sqrt(variance);
            const double *factor = theta->factors + k * P2 + factor_at, *mean = theta->means + k * P + mean_at;
#define PREPARED(x)                                                                                                    \
    do {                                                                                                               \
        const double number = (x);                                                                                     \
        for (int lane = 0; lane < PARAMETER_STRIDE; lane++)                                                            \
            *prepared_out++ = number;                                                                                  \
    } while (0)
            for (int i = 0; i < p; i++)
                for (int j = 0; j <= i; j++)
                    PREPARED(factor[i * p + j] * root);
            for (int i = 0; i < p; i++)
                PREPARED(mean[i]);
            PREPARED(root);
            PREPARED(1.0 / variance);
            PREPARED(log(6.283185307179586476925 * variance));
#undef PREPARED
        }
        mean_at += p;
        factor_at += p * p;
    }
}

/* The sum over lanes, always in the same order. */
INLINE double NAME(total)(V x)
{
    double sum = 0.0;
    for (int lane = 0; lane < WIDTH; lane++)
        sum += x[lane];
    return sum;
}

/* The sums of all lanes in the layout that the LAPACK kernel shares. */
static TARGET void NAME(reduce)(
    const lanes_pack *pack, int n_modes,
    const V *log_likelihood, /* (1,) */
    const V *mode_sums,      /* (K,) */
    const V *sums,           /* channel by channel: (K, q + p + 3) */
    double *restrict sums_out
)
{
    const int C = pack->n_channels, K = n_modes;
    int64_t P = 0, P2 = 0, mean_at = 0, factor_at = 0;
    for (int c = 0; c < C; c++) {
        P += pack->sizes[c];
        P2 += (int64_t)pack->sizes[c] * pack->sizes[c];
    }
    double *N = sums_out + 1, *N_channel = N + K, *D = N_channel + (int64_t)K * C, *Q = D + K * P, *E = Q + K * P2;
    double *n = E + (int64_t)K * C;
    sums_out[0] = NAME(total)(*log_likelihood);
    for (int k = 0; k < K; k++)
        N[k] = NAME(total)(mode_sums[k]);
    for (int c = 0; c < C; c++) {
        const int p = pack->sizes[c], q = p * (p + 1) / 2;
        for (int k = 0; k < K; k++) {
            N_channel[(int64_t)k * C + c] = NAME(total)(sums[0]);
            n[(int64_t)k * C + c] = NAME(total)(sums[1]);
            E[(int64_t)k * C + c] = NAME(total)(sums[2]);
            for (int i = 0; i < p; i++)
                D[k * P + mean_at + i] = NAME(total)(sums[3 + i]);
            double *block = Q + k * P2 + factor_at;
            for (int i = 0; i < p; i++)
                for (int j = 0; j <= i; j++)
                    block[i * p + j] = block[j * p + i] = NAME(total)(sums[3 + p + i * (i + 1) / 2 + j]);
            sums += q + p + 3;
        }
        mean_at += p;
        factor_at += p * p;
    }
}

/* Where a tile met a pivot or a misfit that is not a positive or a finite number: its channels and modes once more. */
static TARGET void NAME(locate)(
    const lanes_pack *pack, int n_modes, int64_t tile, int first, int last,
    const double *prepared, /* of `prepare` */
    T *moments,             /* (K, q + p + 1)  scratch */
    lanes_failure *failure_out
)
{
    for (int c = 0; c < pack->n_channels; c++) {
        const int p = pack->sizes[c], size = p * (p + 1) / 2 + p + 3;
        const int64_t at = tile * pack->n_channels + c;
        for (int k = first; k < last && pack->factor_at[at] >= 0; k++) {
            T misfit = NAME(all)(PARTS, SPREAD(0.0)), mantissa = NAME(all)(PARTS, SPREAD(1.0)), smallest = mantissa;
            TU exponent = {{{0}}};
            NAME(expect_instances)[p](
                pack->data + pack->factor_at[at], pack->data + pack->projection_at[at],
                prepared + (int64_t)k * size * PARAMETER_STRIDE, 0, 1, &misfit, &mantissa, &exponent, &smallest,
                moments);
            for (int lane = 0; lane < LANES; lane++) {
                const int64_t unit = pack->order[tile * LANES + lane];
                const double pivot = smallest.part[lane / WIDTH][lane % WIDTH];
                const double value = misfit.part[lane / WIDTH][lane % WIDTH];
                if (unit >= 0 && !(pivot > 0.0 && value - value == 0.0)) {
                    *failure_out = (lanes_failure){unit, k, c};
                    return;
                }
            }
        }
        prepared += (int64_t)n_modes * size * PARAMETER_STRIDE;
    }
    /* All channels are in order, so the weights are not: a unit is held at a mode that has none. */
    int held = 0;
    for (int lane = LANES - 1; lane >= 0 && pack->known_modes; lane--)
        if (pack->known_modes[tile * LANES + lane] >= 0)
            held = lane;
    *failure_out = (lanes_failure){pack->order[tile * LANES + held], -1, -1};
}

/* log pi_k + log P(x | k) of (11), and from them (3) and the log-likelihood, for one register of a tile.
 * Returns all ones where these are numbers. */
INLINE U NAME(weigh)(
    int n_modes, int first, int last, int part,
    const V *restrict log_weights,    /* (K,)     log pi */
    const int *restrict known_modes,  /* (WIDTH,) or null */
    double bias,                      /*          of the exponents */
    double temperature,
    const T *restrict mantissas,      /* (K,) */
    const TU *restrict exponents,     /* (K,) */
    T *restrict misfits,              /* (K,)     in; log pi_k + log P(x | k) out */
    T *restrict weights_out,          /* (K,)     responsibilities */
    V *restrict log_likelihood_out    /* (1,) */
)
{
    U sound = ~(U){0};
    for (int k = first; k < last; k++) {
        const V logarithm =
            NAME(logarithm)(mantissas[k].part[part], NAME(exponent_sum)(exponents[k].part[part], bias));
        const V deviance = misfits[k].part[part] + logarithm;
        sound &= (U)(deviance - deviance == SPREAD(0.0));
        misfits[k].part[part] = FNMA(SPREAD(0.5), deviance, log_weights[k]);
    }
    if (known_modes)
        for (int lane = 0; lane < WIDTH; lane++)
            for (int k = first; k < last; k++)
                if (known_modes[lane] >= 0 && known_modes[lane] != k)
                    misfits[k].part[part][lane] = -INFINITY;
    V largest = misfits[first].part[part], sum = {0};
    for (int k = first + 1; k < last; k++)
        largest = SELECT(misfits[k].part[part] > largest, misfits[k].part[part], largest);
    for (int k = first; k < last; k++) {
        const V weight = NAME(exponential)(misfits[k].part[part] - largest);
        weights_out[k].part[part] = weight;
        sum += weight;
    }
    const V log_likelihood = largest + NAME(log_positive)(sum);
    sound &= (U)(log_likelihood - log_likelihood == SPREAD(0.0));
    if (temperature != 1.0) {
        sum = (V){0};
        for (int k = first; k < last; k++) {
            const V weight = NAME(exponential)(SPREAD(temperature) * (misfits[k].part[part] - largest));
            weights_out[k].part[part] = weight;
            sum += weight;
        }
    }
    const V scale = SPREAD(1.0) / sum;
    for (int k = 0; k < n_modes; k++)
        weights_out[k].part[part] = k >= first && k < last ? weights_out[k].part[part] * scale : (V){0};
    *log_likelihood_out = log_likelihood;
    return sound;
}

/* (10)-(14) for tiles first_tile .. last_tile - 1. Returns 0, or 1 with *failure_out set. */
static TARGET int NAME(expectation)(
    const lanes_pack *pack,
    const lanes_parameters *theta,
    int64_t first_tile, int64_t last_tile,
    double temperature,                   /*          beta in responsibilities ~ (pi P)^beta; 1 is (3) */
    int given,                            /*          take the responsibilities as they are, and add up */
    double *scratch,                      /* (scratch_size,)  aligned to 64 bytes */
    double *restrict responsibilities,    /* (L, K)   (3), in or out */
    double *restrict log_likelihoods_out, /* (L,)     unit by unit, or null */
    double *restrict sums_out,            /* (14): l, N (K), N_kc (K, C), D (K, P), Q (K, P2), E (K, C), n (K, C) */
    lanes_failure *failure_out
)
{
    const int parts = PARTS, C = pack->n_channels, K = theta->n_modes;
    int64_t size = 0; /* of moments, for one mode */
    for (int c = 0; c < C; c++)
        size += pack->sizes[c] * (pack->sizes[c] + 3) / 2 + 1;
    T *const misfits = (T *)scratch, *const mantissas = misfits + K, *const weights = mantissas + K;
    TU *const exponents = (TU *)(weights + K);
    T *const moments = (T *)(exponents + K), *const log_likelihoods = moments + size * K;
    V *const log_likelihood = (V *)(log_likelihoods + 1), *const mode_sums = log_likelihood + 1;
    V *const log_weights = mode_sums + K, *const sums = log_weights + K;
    double *const prepared = (double *)(sums + (size + 2 * C) * K);
    NAME(prepare)(pack, theta, prepared);
    *log_likelihood = (V){0};
    for (int k = 0; k < K; k++) {
        mode_sums[k] = (V){0};
        log_weights[k] = SPREAD(theta->log_weights[k]);
    }
    for (int64_t i = 0; i < (size + 2 * C) * K; i++)
        sums[i] = (V){0};

    for (int64_t tile = first_tile; tile < last_tile; tile++) {
        const int64_t *const order = pack->order + tile * LANES;
        const int64_t *const factor_at = pack->factor_at + tile * C;
        const int64_t *const projection_at = pack->projection_at + tile * C;
        const int known = given && pack->tile_modes[tile] >= 0 ? -2 : pack->tile_modes[tile];
        const int first = known >= 0 ? known : 0; /* a tile of units of one known mode needs that mode alone */
        const int last = known >= 0 ? known + 1 : K;
        T smallest = NAME(all)(PARTS, SPREAD(1.0));
        for (int k = first; k < last; k++) {
            misfits[k] = NAME(all)(PARTS, SPREAD(0.0));
            mantissas[k] = NAME(all)(PARTS, SPREAD(1.0));
            EACH_PART exponents[k].part[h] = (U){0};
        }
        const double *parameters = prepared;
        T *moment = moments;
        int n_exponents = 0;
        for (int c = 0; c < C; c++) {
            const int p = pack->sizes[c], size_c = p * (p + 3) / 2;
            if (factor_at[c] >= 0) {
                NAME(expect_instances)[p](
                    pack->data + factor_at[c], pack->data + projection_at[c], parameters, first, last,
                    misfits, mantissas, exponents, &smallest, moment);
                n_exponents += (p + 3) / 4;
            }
            parameters += (int64_t)K * (size_c + 3) * PARAMETER_STRIDE;
            moment += K * (size_c + 1);
        }

        int sound = 1;
        EACH_PART {
            const int *const modes = known != -2 ? 0 : pack->known_modes + tile * LANES + h * WIDTH;
            const U numbers = (U)(smallest.part[h] > SPREAD(0.0)) &
                NAME(weigh)(K, first, last, h, log_weights, modes, 1023.0 * n_exponents, temperature, mantissas,
                            exponents, misfits, weights, &log_likelihoods->part[h]);
            U used = ~(U){0};
            if (order[LANES - 1] < 0)
                for (int lane = 0; lane < WIDTH; lane++)
                    used[lane] = order[h * WIDTH + lane] < 0 ? 0 : ~0ULL;
            log_likelihoods->part[h] = (V)((U)log_likelihoods->part[h] & used);
            for (int k = 0; k < K; k++)
                weights[k].part[h] = (V)((U)weights[k].part[h] & used);
            for (int lane = 0; lane < WIDTH; lane++)
                sound &= (numbers[lane] | ~used[lane]) != 0;
        }
        if (!sound) {
            NAME(locate)(pack, K, tile, first, last, prepared, moments, failure_out);
            return 1;
        }
        for (int lane = 0; lane < LANES; lane++)
            if (order[lane] >= 0) {
                double *const row = responsibilities + order[lane] * K;
                if (given)
                    for (int k = 0; k < K; k++)
                        ((double *)weights)[k * LANES + lane] = row[k];
                else
                    for (int k = 0; k < K; k++)
                        row[k] = ((const double *)weights)[k * LANES + lane];
                if (log_likelihoods_out)
                    log_likelihoods_out[order[lane]] = ((const double *)log_likelihoods)[lane];
            }

        /* (14) */
        EACH_PART {
            *log_likelihood += log_likelihoods->part[h];
            for (int k = first; k < last; k++)
                mode_sums[k] += weights[k].part[h];
        }
        moment = moments;
        V *sum = sums;
        for (int c = 0; c < C; c++) {
            const int p = pack->sizes[c], size_c = p * (p + 3) / 2;
            if (factor_at[c] >= 0)
                NAME(add_instances)[p](pack->data + factor_at[c], first, last, weights, moment, sum);
            moment += K * (size_c + 1);
            sum += K * (size_c + 3);
        }
    }
    NAME(reduce)(pack, K, log_likelihood, mode_sums, sums, sums_out);
    return 0;
}

/* For tests: exp or log of each number. */
static TARGET void NAME(elementary)(
    int which,         /* 0: exponential, 1: log of normal positive numbers */
    int64_t n,
    const double *x,   /* (n,) */
    double *values_out /* (n,) */
)
{
    for (int64_t i = 0; i < n; i += WIDTH) {
        V numbers = SPREAD(1.0);
        for (int lane = 0; lane < WIDTH && i + lane < n; lane++)
            numbers[lane] = x[i + lane];
        numbers = which ? NAME(log_positive)(numbers) : NAME(exponential)(numbers);
        for (int lane = 0; lane < WIDTH && i + lane < n; lane++)
            values_out[i + lane] = numbers[lane];
    }
}

#undef V
#undef U
#undef T
#undef TU
#undef INLINE
#undef INSTANCE
#undef EACH_PART
#undef PARTS_TOGETHER
#undef MULTIPLY_ADD
#undef MULTIPLY_SUBTRACT
#undef TIMES
#undef PLUS
#undef ALL
#undef LOAD
#undef GET
#undef PUT
#undef SPREAD
#undef SPREAD_BITS
#undef SELECT
#undef PARAMETER
#undef PARAMETER_STRIDE
#undef NAME
#undef LANES
#undef WIDTH
#undef PARTS
#undef TARGET
#undef FMA
#undef FNMA
#undef MINIMUM
#undef BROADCAST
