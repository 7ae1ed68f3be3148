/* (22) and (23) of model.md with units side by side: columns whose coefficients do not vary from unit to unit; a part of
 * _lanes_kernel.h.
 *
 * The usual numbers of columns are compile-time constants, as in _lanes_tile.h; for larger ones there are plain loops. */

/* Up to 7 columns completely; more of them by a loop. */
#if defined(__clang__)
#define UNROLL_FEW _Pragma("clang loop unroll_count(8)")
#else
#define UNROLL_FEW _Pragma("GCC unroll 8")
#endif
/* Kept out of its callers: what plain models execute would spill registers for it. */
#define APART TARGET __attribute__((noinline))
#define NUMBER(x, i) (*(const V *)((x) + (int64_t)(i) * LANES))

/* Has the cache take what a channel of the next tile needs. With fixed columns a tile reads from two places by turns, and
 * what the processor fetches by itself comes too late once a fleet no longer fits into the second cache. */
INLINE void NAME(fetch_ahead)(const lanes_pack *pack, int64_t at)
{
    const int c = (int)(at % pack->n_channels), p = pack->sizes[c], q = pack->fixed_sizes[c];
    if (pack->fixed_at[at] < 0)
        return;
    if (c == 0 || pack->fixed_at[at] != pack->fixed_at[at - 1])
        for (int i = 0; i < (p * q + q * (q + 1)) * LANES; i += 8) /* 8 doubles to a line of the cache */
            __builtin_prefetch(pack->data + pack->fixed_at[at] + i, 0, 2);
    for (int i = 0; i < q * LANES; i += 8)
        __builtin_prefetch(pack->data + pack->fixed_projection_at[at] + i, 0, 2);
    for (int i = 0; i < (p + 1) * LANES; i += 8)
        __builtin_prefetch(pack->data + pack->projection_at[at] + i, 0, 2);
}

/* w and rss of (22) for one channel of one tile, and R_psi' e_2, which the gradient needs. */
INLINE void NAME(condition)(
    const int p, const int q,
    const double *restrict block,      /* (p q + q (q + 1), LANES)  R_phipsi and the upper triangle of R_psi by rows, Gram */
    const double *restrict projection, /* (p + 1, LANES)            w_1, rss */
    const double *restrict w_fixed,    /* (q, LANES)                w_2 */
    const double *restrict beta,       /* (q,) */
    double *restrict projection_out,   /* (p + 1, LANES)            w, rss of (22) */
    double *restrict pull_out          /* (q, LANES)                R_psi' e_2 */
)
{
    const double *const triangle = block + (int64_t)p * q * LANES;
    for (int h = 0; h < LANES; h += WIDTH) {
        V rss = NUMBER(projection + h, p);
        UNROLL_FEW for (int i = 0; i < p; i++) {
            V rest = NUMBER(projection + h, i);
            UNROLL_FEW for (int j = 0; j < q; j++)
                rest = FNMA(NUMBER(block + h, i * q + j), SPREAD(beta[j]), rest);
            *(V *)(projection_out + i * LANES + h) = rest;
        }
        V few[7]; /* pulls of few columns stay in registers */
        UNROLL_FEW for (int j = 0; j < q; j++)
            if (q <= 7)
                few[j] = (V){0};
            else
                *(V *)(pull_out + j * LANES + h) = (V){0};
        UNROLL_FEW for (int i = 0; i < q; i++) {
            const int at = i * q - i * (i - 1) / 2; /* of row i in the triangle */
            V rest = NUMBER(w_fixed + h, i);
            UNROLL_FEW for (int j = 0; j < q; j++)
                if (j >= i)
                    rest = FNMA(NUMBER(triangle + h, at + j - i), SPREAD(beta[j]), rest);
            rss = FMA(rest, rest, rss);
            UNROLL_FEW for (int j = 0; j < q; j++)
                if (j >= i) {
                    V *const pull = q <= 7 ? few + j : (V *)(pull_out + j * LANES + h);
                    *pull = FMA(NUMBER(triangle + h, at + j - i), rest, *pull);
                }
        }
        UNROLL_FEW for (int j = 0; j < q && q <= 7; j++)
            *(V *)(pull_out + j * LANES + h) = few[j];
        *(V *)(projection_out + p * LANES + h) = rss;
    }
}

/* Adds n columns of one channel and mode of one tile to the gradient of (23). */
INLINE void NAME(add_columns)(
    const int n, const int p, int q,
    const double *restrict block,  /* (p q, LANES)  R_phipsi, from the first of the columns on */
    const double *restrict pull,   /* (n, LANES) */
    const T *restrict weight,      /* (1,)          responsibility */
    V sigma,
    const T *restrict rests,       /* (p,)          e - B E d */
    V *restrict sums               /* (n,)          in, out */
)
{
    V sum[4];
    UNROLL for (int j = 0; j < n; j++)
        sum[j] = sums[j];
    UNROLL for (int h = 0; h < PARTS; h++) {
        const V scaled = weight->part[h] * sigma;
        UNROLL for (int j = 0; j < n; j++)
            sum[j] = FMA(weight->part[h], NUMBER(pull + h * WIDTH, j), sum[j]);
        UNROLL_FEW for (int i = 0; i < p; i++) {
            const V rest = scaled * rests[i].part[h];
            UNROLL for (int j = 0; j < n; j++)
                sum[j] = FMA(rest, NUMBER(block + h * WIDTH, i * q + j), sum[j]);
        }
    }
    UNROLL for (int j = 0; j < n; j++)
        sums[j] = sum[j];
}

/* Adds one channel of one tile to the gradients of (23), for modes first .. last - 1. */
INLINE void NAME(add_gradients)(
    const int p, int q, int first, int last,
    int pull_step,                 /*                doubles from one mode's pull to the next one's */
    const double *restrict block,
    const double *restrict pull,   /* (1 or K, q, LANES) */
    const T *restrict weights,     /* (K,)           responsibilities */
    const double *restrict sigmas, /* (K,) */
    const T *restrict rests,       /* (K, p)         e - B E d of `expect` */
    V *restrict sums               /* (K, q + q (q + 1) / 2) */
)
{
    for (int k = first; k < last; k++) {
        V *restrict sum = sums + k * (q + q * (q + 1) / 2);
        const V sigma = SPREAD(sigmas[k]);
        for (int from = 0; from < q; from += 4) {
#define COLUMNS(n)                                                                                                    \
    NAME(add_columns)(n, p, q, block + from * LANES, pull + k * pull_step + from * LANES, weights + k, sigma,         \
                      rests + k * p, sum + from)
            switch (q - from) {
            case 1:
                COLUMNS(1);
                break;
            case 2:
                COLUMNS(2);
                break;
            case 3:
                COLUMNS(3);
                break;
            default:
                COLUMNS(4);
            }
#undef COLUMNS
        }
    }
}

/* Adds the Gram matrices of one channel of one tile. */
static APART void NAME(add_grams)(
    int n_gram, int q, int first, int last,
    const double *restrict gram, /* (n_gram, LANES) */
    const T *restrict weights,   /* (K,) */
    V *restrict sums             /* (K, q + n_gram) */
)
{
    for (int k = first; k < last; k++)
        for (int i = 0; i < n_gram; i++) {
            V sum = sums[k * (q + n_gram) + q + i];
            UNROLL for (int h = 0; h < PARTS; h++)
                sum = FMA(weights[k].part[h], NUMBER(gram + h * WIDTH, i), sum);
            sums[k * (q + n_gram) + q + i] = sum;
        }
}

static APART void NAME(condition_of)(
    int p, int q, const double *block, const double *projection, const double *w_fixed, const double *beta,
    double *projection_out, double *pull_out
)
{
#define OF(q) NAME(condition)(p, q, block, projection, w_fixed, beta, projection_out, pull_out)
    switch (q) {
    case 1:
        OF(1);
        break;
    case 2:
        OF(2);
        break;
    case 3:
        OF(3);
        break;
    case 4:
        OF(4);
        break;
    case 5:
        OF(5);
        break;
    case 6:
        OF(6);
        break;
    case 7:
        OF(7);
        break;
    default:
        OF(q);
    }
#undef OF
}

static APART void NAME(add_gradients_of)(
    int p, int q, int first, int last, int pull_step, const double *block, const double *pull, const T *weights,
    const double *sigmas, const T *rests, V *sums
)
{
#define OF(p) NAME(add_gradients)(p, q, first, last, pull_step, block, pull, weights, sigmas, rests, sums)
    switch (p) {
    case 1:
        OF(1);
        break;
    case 2:
        OF(2);
        break;
    case 3:
        OF(3);
        break;
    default:
        OF(p);
    }
#undef OF
}

/* Scratch of a pass, and where in it a channel is. */
typedef struct {
    double *conditioned; /* channel by channel: (K, p + 1, LANES)  w and rss of (22); one for all modes but by mode */
    double *pulls;       /* channel by channel: (K, q, LANES)      R_psi' e_2; likewise */
    T *rests;            /* channel by channel: (K, p)             e - B E d of `expect` */
    V *sums;             /* channel by channel: (K, q + q (q + 1) / 2) */
    double *sigmas;      /* channel by channel: (K,) */
    const double *beta;  /* (K, Q), from the channel's first column on */
    int n_columns;       /* Q */
} NAME(fixed_scratch);

/* Places the scratch at `memory`, with sums of zero; returns the end of it. */
static APART double *NAME(lay_out_fixed)(
    const lanes_pack *pack, const lanes_parameters *theta, double *memory, NAME(fixed_scratch) *fixed_out
)
{
    if (!pack->fixed_sizes)
        return memory;
    const int C = pack->n_channels, K = theta->n_modes;
    int64_t P = 0, Q = 0, n_sums = 0;
    for (int c = 0; c < C; c++) {
        const int q = pack->fixed_sizes[c];
        P += pack->sizes[c];
        Q += q;
        n_sums += K * (q + q * (q + 1) / 2);
    }
    fixed_out->conditioned = memory;
    fixed_out->pulls = memory + (P + C) * K * LANES;
    fixed_out->rests = (T *)(fixed_out->pulls + Q * K * LANES);
    fixed_out->sums = (V *)(fixed_out->rests + P * K);
    fixed_out->sigmas = (double *)(fixed_out->sums + n_sums);
    fixed_out->beta = theta->fixed;
    fixed_out->n_columns = (int)Q;
    for (int i = 0; i < C * K; i++)
        fixed_out->sigmas[i] = sqrt(theta->noise_variances[(i % K) * C + i / K]);
    for (int64_t i = 0; i < n_sums; i++)
        fixed_out->sums[i] = (V){0};
    return fixed_out->sigmas + WIDTH * C * K;
}

/* (22), then (10)-(13) of one channel of one tile. */
static APART void NAME(expect_conditioned)(
    const lanes_pack *pack, const lanes_parameters *theta,
    int64_t tile, int more,            /*             whether another tile follows */
    int c, int first, int last,
    const double *parameters,          /* (K, q + p + 3, ...), misfits .. moments_out: as `expect` takes them */
    T *misfits, T *mantissas, TU *exponents, T *smallest, T *moments_out,
    NAME(fixed_scratch) *at_channel    /*             moves to the next channel */
)
{
    const int C = pack->n_channels, K = theta->n_modes, p = pack->sizes[c], q = pack->fixed_sizes[c];
    const int64_t at = tile * C + c;
    if (pack->fetch_ahead && q > 0 && more)
        NAME(fetch_ahead)(pack, at + C);
    if (pack->factor_at[at] >= 0 && q > 0) {
        const int step = pack->by_mode ? (p + 1) * LANES : 0, last_version = pack->by_mode ? last : first + 1;
        double *const conditioned = at_channel->conditioned;
        for (int k = first; k < last_version; k++)
            NAME(condition_of)(p, q, pack->data + pack->fixed_at[at], pack->data + pack->projection_at[at],
                               pack->data + pack->fixed_projection_at[at],
                               at_channel->beta + k * at_channel->n_columns, conditioned + k * step,
                               at_channel->pulls + (pack->by_mode ? k : 0) * q * LANES);
        NAME(expect_instances)[1][p](
            pack->data + pack->factor_at[at], conditioned + first * step, step, parameters, first, last, misfits,
            mantissas, exponents, smallest, moments_out, at_channel->rests);
    } else if (pack->factor_at[at] >= 0)
        NAME(expect_instances)[0][p](
            pack->data + pack->factor_at[at], pack->data + pack->projection_at[at], 0, parameters, first, last,
            misfits, mantissas, exponents, smallest, moments_out, 0);
    at_channel->conditioned += (int64_t)K * (p + 1) * LANES;
    at_channel->pulls += (int64_t)K * q * LANES;
    at_channel->rests += (int64_t)K * p;
    at_channel->beta += q;
}

/* (23): one tile's part of the sums. */
static APART void NAME(add_fixed)(
    const lanes_pack *pack, int64_t tile, int n_modes, int first, int last,
    const T *weights, /* (K,)  responsibilities */
    const NAME(fixed_scratch) *fixed
)
{
    const double *pull = fixed->pulls;
    const T *rest = fixed->rests;
    V *sum = fixed->sums;
    for (int c = 0; c < pack->n_channels; c++) {
        const int p = pack->sizes[c], q = pack->fixed_sizes[c];
        const int64_t at = tile * pack->n_channels + c;
        if (pack->factor_at[at] >= 0 && q > 0) {
            const double *const block = pack->data + pack->fixed_at[at];
            NAME(add_gradients_of)(p, q, first, last, pack->by_mode ? q * LANES : 0, block, pull, weights,
                                   fixed->sigmas + c * n_modes, rest, sum);
            if (pack->gram_twins[c] == c)
                NAME(add_grams)(q * (q + 1) / 2, q, first, last, block + (p * q + q * (q + 1) / 2) * LANES, weights,
                                sum);
        }
        sum += n_modes * (q + q * (q + 1) / 2);
        pull += (int64_t)n_modes * q * LANES;
        rest += (int64_t)n_modes * p;
    }
}

#undef UNROLL_FEW
#undef NUMBER

/* The sums of all lanes: g (K, Q), H (K, Q2). */
static APART void NAME(reduce_fixed)(
    const lanes_pack *pack, const lanes_parameters *theta,
    const V *sums,                  /* channel by channel: (K, q + q (q + 1) / 2) */
    double *restrict fixed_sums_out
)
{
    const int C = pack->n_channels, K = theta->n_modes;
    int64_t Q = 0, Q2 = 0, at = 0, gram_at = 0;
    for (int c = 0; c < C; c++) {
        Q += pack->fixed_sizes[c];
        Q2 += pack->fixed_sizes[c] * (pack->fixed_sizes[c] + 1) / 2;
    }
    double *const g = fixed_sums_out, *const H = g + K * Q;
    for (int c = 0; c < C; c++) {
        const int q = pack->fixed_sizes[c], n_gram = q * (q + 1) / 2, twin = pack->gram_twins[c];
        int64_t twin_at = 0;
        for (int other = 0; other < twin; other++)
            twin_at += pack->fixed_sizes[other] * (pack->fixed_sizes[other] + 1) / 2;
        for (int k = 0; k < K; k++) {
            const V *const sum = sums + k * (q + n_gram);
            for (int j = 0; j < q; j++)
                g[k * Q + at + j] = NAME(total)(sum[j]);
            for (int i = 0; i < n_gram; i++)
                H[k * Q2 + gram_at + i] = twin == c ? NAME(total)(sum[q + i]) : H[k * Q2 + twin_at + i];
        }
        sums += K * (q + n_gram);
        at += q;
        gram_at += n_gram;
    }
}
