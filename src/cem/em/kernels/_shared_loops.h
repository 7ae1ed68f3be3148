/* The work per unit if many units share a design; everything else is in BLAS (see _shared.pyx).
 *
 * Arrays are (rows, n): number u of a row belongs to unit u, n is a multiple of 8, rows begin at multiples of 64 bytes.
 * _shared.h has this file included once per instruction level. */

#define AT(x) (*(V *)(x))

/* Whitened innovations y = Z (w - R mu) / sigma of one channel and mode, and their part of (11). */
static TARGET void NAME(innovate)(
    int p, int64_t n,
    const double *shift,     /* (p,)    Z R mu / sigma */
    const double *rss,       /* (n,) */
    double precision,        /*         1 / sigma^2 */
    double *restrict y,      /* (p, n)  Z w / sigma in, y out */
    double *restrict misfits /* (n,)    in, out: gains rss / sigma^2 + |y|^2 */
)
{
    for (int64_t u = 0; u < n; u += WIDTH) {
        V misfit = FMA(SPREAD(precision), AT((double *)rss + u), AT(misfits + u));
        for (int i = 0; i < p; i++) {
            const V value = AT(y + i * n + u) - SPREAD(shift[i]);
            AT(y + i * n + u) = value;
            misfit = FMA(value, value, misfit);
        }
        AT(misfits + u) = misfit;
    }
}

/* Responsibility times innovation, and the responsibility itself as the last row: what the sums (14) are products of. */
static TARGET void NAME(weight)(
    int p, int64_t n,
    const double *responsibilities, /* (n,) */
    const double *y,                /* (p, n) */
    double *restrict weighted_out   /* (p + 1, n) */
)
{
    for (int64_t u = 0; u < n; u += WIDTH) {
        const V weight = AT((double *)responsibilities + u);
        for (int i = 0; i < p; i++)
            AT(weighted_out + i * n + u) = weight * AT((double *)y + i * n + u);
        AT(weighted_out + p * n + u) = weight;
    }
}

/* (3) and the log-likelihood from the deviances of (11). Returns -1, or the first unit where these are no numbers. */
static TARGET int64_t NAME(weigh)(
    int n_modes, int64_t n,
    int64_t n_used,             /*         units beyond it are padding: they get responsibility 0 */
    const double *log_weights,  /*         log pi_k of unit u at k * row_step + u * unit_step, WIDTH units at a time */
    int64_t row_step, int64_t unit_step,
    const int *known_modes,     /* (n,)    -1: unknown; or null */
    double temperature,         /*         beta in responsibilities ~ (pi P)^beta; 1 is (3) */
    double *restrict deviances, /* (K, n)  -2 log P(x | k) in, responsibilities out */
    double *restrict log_likelihoods_out, /* (n,) */
    double *restrict sum_out    /* (1,)    of the log-likelihoods */
)
{
    const int K = n_modes;
    V total = {0};
    int64_t unsound = -1;
    for (int64_t u = 0; u < n; u += WIDTH) {
        U used = ~(U){0}, sound = ~(U){0};
        if (u + WIDTH > n_used)
            for (int lane = 0; lane < WIDTH; lane++)
                used[lane] = u + lane < n_used ? ~0ULL : 0;
        V largest = SPREAD(-INFINITY), sum = {0};
        for (int k = 0; k < K; k++) {
            const V deviance = AT(deviances + k * n + u);
            sound &= (U)(deviance - deviance == SPREAD(0.0));
            V value = FNMA(SPREAD(0.5), deviance, AT((double *)log_weights + k * row_step + u * unit_step));
            if (known_modes)
                for (int lane = 0; lane < WIDTH; lane++)
                    if (known_modes[u + lane] >= 0 && known_modes[u + lane] != k)
                        value[lane] = -INFINITY;
            largest = SELECT(value > largest, value, largest);
            AT(deviances + k * n + u) = value;
        }
        for (int k = 0; k < K; k++) {
            const V weight = NAME(exponential)(AT(deviances + k * n + u) - largest);
            if (temperature == 1.0)
                AT(deviances + k * n + u) = weight;
            sum += weight;
        }
        const V log_likelihood = (V)((U)(largest + NAME(log_positive)(sum)) & used);
        sound &= (U)(log_likelihood - log_likelihood == SPREAD(0.0));
        if (temperature != 1.0) {
            sum = (V){0};
            for (int k = 0; k < K; k++) {
                const V weight = NAME(exponential)(SPREAD(temperature) * (AT(deviances + k * n + u) - largest));
                AT(deviances + k * n + u) = weight;
                sum += weight;
            }
        }
        const V scale = SPREAD(1.0) / sum;
        for (int k = 0; k < K; k++)
            AT(deviances + k * n + u) = (V)((U)(AT(deviances + k * n + u) * scale) & used);
        AT(log_likelihoods_out + u) = log_likelihood;
        total += log_likelihood;
        for (int lane = 0; lane < WIDTH && unsound < 0; lane++)
            if (!(sound[lane] | ~used[lane]))
                unsound = u + lane;
    }
    *sum_out = NAME(total)(total);
    return unsound;
}

#undef AT
