/* The expectation step (10)-(14) of model.md with units side by side: what is done with the tiles of _lanes_tile.h.
 *
 * _lanes.h has this file included once per instruction level. */

#include "_lanes_tile.h"
#include "_lanes_fixed.h"

/* Doubles of scratch that `expectation` needs. */
static int64_t NAME(scratch_size)(const lanes_pack *pack, int n_modes)
{
    int64_t size = 0;
    for (int c = 0; c < pack->n_channels; c++) {
        const int p = pack->sizes[c], q = p * (p + 1) / 2;
        size += (q + p + 1) * PARTS + (q + p + 3) * (1 + PARAMETER_STRIDE); /* moments; sums and parameters */
        if (pack->fixed_sizes) {
            const int n = pack->fixed_sizes[c]; /* see `fixed_scratch` */
            size += (2 * p + 1 + n) * PARTS + n + n * (n + 1) / 2 + 1;
        }
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

/* w and rss of a channel of a tile, [w, rss], for one mode: as packed, or what fixed columns leave of them. */
INLINE const double *NAME(projection)(
    const lanes_pack *pack, int64_t at, const double *conditioned, int n_modes, int mode
)
{
    const int c = (int)(at % pack->n_channels);
    if (!pack->fixed_sizes || pack->fixed_at[at] < 0)
        return pack->data + pack->projection_at[at];
    for (int other = 0; other < c; other++)
        conditioned += (int64_t)n_modes * (pack->sizes[other] + 1) * LANES;
    return conditioned + (pack->by_mode ? mode : 0) * (pack->sizes[c] + 1) * LANES;
}

/* Where a tile met a pivot or a misfit that is not a positive or a finite number: its channels and modes once more. */
static APART void NAME(locate)(
    const lanes_pack *pack, const lanes_parameters *theta, int64_t tile, int first, int last,
    const double *prepared,    /* of `prepare` */
    const double *conditioned, /* channel by channel: (K, p + 1, LANES), what fixed columns leave of w and rss */
    T *moments,                /* (K, q + p + 1)  scratch */
    lanes_failure *failure_out
)
{
    const int n_modes = theta->n_modes;
    for (int c = 0; c < pack->n_channels; c++) {
        const int p = pack->sizes[c], size = p * (p + 1) / 2 + p + 3;
        const int64_t at = tile * pack->n_channels + c;
        for (int k = first; k < last && pack->factor_at[at] >= 0; k++) {
            T misfit = NAME(all)(PARTS, SPREAD(0.0)), mantissa = NAME(all)(PARTS, SPREAD(1.0)), smallest = mantissa;
            TU exponent = {{{0}}};
            NAME(expect_instances)[0][p](
                pack->data + pack->factor_at[at], NAME(projection)(pack, at, conditioned, n_modes, k), 0,
                prepared + (int64_t)k * size * PARAMETER_STRIDE, 0, 1, &misfit, &mantissa, &exponent, &smallest,
                moments, 0);
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
    /* All channels are valid, so a weight is not: a unit has weight 0 in every mode that it may have. */
    int held = 0;
    for (int lane = LANES - 1; lane >= 0; lane--) {
        const int64_t unit = pack->order[tile * LANES + lane];
        const int mode = pack->known_modes ? pack->known_modes[tile * LANES + lane] : -1;
        const double *log_weights = theta->log_weights;
        if (theta->unit_log_weights && unit >= 0)
            log_weights = theta->unit_log_weights + unit * n_modes;
        double largest = -INFINITY;
        for (int k = first; k < last && unit >= 0; k++)
            if ((mode < 0 || mode == k) && log_weights[k] > largest)
                largest = log_weights[k];
        if (unit >= 0 && !(largest > -INFINITY))
            held = lane;
    }
    *failure_out = (lanes_failure){pack->order[tile * LANES + held], -1, -1};
}

/* log pi_k + log P(x | k) of (11), and from them (3) and the log-likelihood, for one register of a tile.
 * Returns all ones where these are numbers. */
INLINE U NAME(weigh)(
    int n_modes, int first, int last, int part,
    const V *restrict log_weights,    /* (K,)     log pi, of the units in the lanes */
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

/* The log weights of the units in one register's lanes; 0 in lanes without a unit. */
static APART void NAME(gather_log_weights)(
    int n_modes,
    const double *log_weights,   /* (L, K) */
    const int64_t *units,        /* (WIDTH,)  -1: none */
    V *restrict log_weights_out  /* (K,) */
)
{
    for (int lane = 0; lane < WIDTH; lane++)
        for (int k = 0; k < n_modes; k++)
            log_weights_out[k][lane] = units[lane] < 0 ? 0.0 : log_weights[units[lane] * n_modes + k];
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
    double *restrict fixed_sums_out,      /* (23): g (K, Q), H (K, Q2), or null: no fixed columns */
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
    NAME(fixed_scratch) fixed = {0};
    double *const prepared = NAME(lay_out_fixed)(pack, theta, (double *)(sums + (size + 2 * C) * K), &fixed);
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
        NAME(fixed_scratch) at_channel = fixed;
        for (int c = 0; c < C; c++) {
            const int p = pack->sizes[c], size_c = p * (p + 3) / 2;
            if (pack->fixed_sizes)
                NAME(expect_conditioned)(pack, theta, tile, tile + 1 < last_tile, c, first, last, parameters, misfits,
                                         mantissas, exponents, &smallest, moment, &at_channel);
            else if (factor_at[c] >= 0)
                NAME(expect_instances)[0][p](
                    pack->data + factor_at[c], pack->data + projection_at[c], 0, parameters, first, last,
                    misfits, mantissas, exponents, &smallest, moment, 0);
            n_exponents += factor_at[c] >= 0 ? (p + 3) / 4 : 0;
            parameters += (int64_t)K * (size_c + 3) * PARAMETER_STRIDE;
            moment += K * (size_c + 1);
        }

        int sound = 1;
        EACH_PART {
            const int *const modes = known != -2 ? 0 : pack->known_modes + tile * LANES + h * WIDTH;
            if (theta->unit_log_weights)
                NAME(gather_log_weights)(K, theta->unit_log_weights, order + h * WIDTH, log_weights);
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
            NAME(locate)(pack, theta, tile, first, last, prepared, fixed.conditioned, moments, failure_out);
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
        if (pack->fixed_sizes)
            NAME(add_fixed)(pack, tile, K, first, last, weights, &fixed);
    }
    NAME(reduce)(pack, K, log_likelihood, mode_sums, sums, sums_out);
    if (pack->fixed_sizes)
        NAME(reduce_fixed)(pack, theta, fixed.sums, fixed_sums_out);
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

#undef T
#undef TU
#undef APART
#undef EXPECT
#undef ADD
#undef SMALL
#undef LARGE
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
#undef PARAMETER
#undef PARAMETER_STRIDE
#undef LANES
#undef PARTS
