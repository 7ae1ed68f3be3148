/* (10)-(13) of model.md with units side by side, one in each lane of a vector register; a part of _lanes_kernel.h.
 *
 * p, the number of coefficients, is a compile-time constant: every function below that takes `p` is inlined into
 * instances p = 1..8, where all loops unroll and all small arrays become registers. Hence the loops run over constant
 * bounds with conditions inside, and triangles are not skipped by bounds.
 *
 * A chain of dependent operations leaves most of a processor's arithmetic idle. So for small p the parts of a tile go
 * through the arithmetic together, operation by operation; for larger p, whose matrices of one part alone overflow the
 * registers, one after the other.
 */

#define PARTS LANES_PARTS /* registers of units in a tile */
#define LANES (WIDTH * PARTS)

/* One number of each unit of a tile. */
typedef struct {
    NAME(vector) part[PARTS];
} NAME(tile);
typedef struct {
    NAME(bits) part[PARTS];
} NAME(tile_bits);

#define T NAME(tile)
#define TU NAME(tile_bits)

/* One of the numbers that (k, c) share between units. */
#if BROADCAST
#define PARAMETER(x, i) (*(const V *)((x) + (i) * WIDTH))
#define PARAMETER_STRIDE WIDTH
#else
#define PARAMETER(x, i) SPREAD((x)[i])
#define PARAMETER_STRIDE 1
#endif

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
    const int projection_step,         /*                 doubles from one mode's w to the next one's */
    const double *restrict parameters, /* (K, q + p + 3)  lower triangle of Lambda / sigma by rows, mu, 1 / sigma,
                                                          1 / sigma^2, log 2 pi sigma^2 */
    int first, int last,
    T *restrict misfits,               /* (K,)            in, out: n log 2 pi sigma^2 + quadratic form of (11) */
    T *restrict mantissas,             /* (K,)            in, out: of the product of determinants */
    TU *restrict exponents,            /* (K,)            in, out: of the product of determinants, biased */
    T *restrict smallest,              /* (1,)            in, out: smallest pivot met */
    T *restrict moments_out,           /* (K, q + p + 1)  residual (13), E d, lower triangle of A^-1 + E d E d' */
    T *restrict rests_out              /* (K, p)          e - B E d, or null */
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
    T rss = LOAD(projection + p * LANES);
    T least = GET(*smallest);

    for (int k = first; k < last; k++) {
        const double *restrict theta = parameters + k * (q + p + 3) * PARAMETER_STRIDE;
        if (projection_step && k > first) {
            projection += projection_step;
            UNROLL for (int i = 0; i < p; i++)
                w[i] = LOAD(projection + i * LANES);
            rss = LOAD(projection + p * LANES);
        }

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
            if (rests_out)
                PUT(rests_out[k * p + i], rest);
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
    const double *, const double *, int, const double *, int, int, T *, T *, TU *, T *, T *, T *);
typedef void (*NAME(add_function))(const double *, int, int, const T *, const T *, V *);

#define EXPECT(name, p, step, rests)                                                                                        \
    static TARGET void NAME(name)(const double *factor, const double *projection, int projection_step,                \
                                  const double *parameters, int first, int last, T *misfits, T *mantissas, TU *exponents, T *smallest,          \
                                  T *moments_out, T *rests_out)                                                       \
    {                                                                                                                 \
        for (int at = 0; at < PARTS; at += PARTS_TOGETHER(p))                                                         \
            NAME(expect)(p, PARTS_TOGETHER(p), at, factor, projection, step, parameters, first, last, misfits,        \
                         mantissas, exponents, smallest, moments_out, rests);                                                    \
    }
#define ADD(p)                                                                                                        \
    static TARGET void NAME(add_##p)(const double *factor, int first, int last, const T *weights, const T *moments,   \
                                     V *sums)                                                                         \
    {                                                                                                                 \
        NAME(add)(p, factor, first, last, weights, moments, sums);                                                    \
    }
/* Of small bases there is one without the branch that asks for rests: it costs 3 % of the E step. */
#define SMALL(p) EXPECT(expect_##p, p, 0, 0) EXPECT(expect_rests_##p, p, projection_step, rests_out) ADD(p)
#define LARGE(p) EXPECT(expect_##p, p, projection_step, rests_out) ADD(p)

SMALL(1)
SMALL(2)
SMALL(3)
SMALL(4)
LARGE(5)
LARGE(6)
LARGE(7)
LARGE(8)

/* Without rests, then with them. */
static const NAME(expect_function) NAME(expect_instances)[2][9] = {
    {0, NAME(expect_1), NAME(expect_2), NAME(expect_3), NAME(expect_4), NAME(expect_5), NAME(expect_6), NAME(expect_7),
     NAME(expect_8)},
    {0, NAME(expect_rests_1), NAME(expect_rests_2), NAME(expect_rests_3), NAME(expect_rests_4), NAME(expect_5),
     NAME(expect_6), NAME(expect_7), NAME(expect_8)}};
static const NAME(add_function) NAME(add_instances)[9] = {
    0, NAME(add_1), NAME(add_2), NAME(add_3), NAME(add_4), NAME(add_5), NAME(add_6), NAME(add_7), NAME(add_8)};
