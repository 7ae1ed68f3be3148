/* (22) and (23) of model.md with units side by side: columns whose coefficients do not vary from unit to unit; a part of
 * _lanes_kernel.h.
 *
 * p and q are not compile-time constants here, unlike in _lanes_tile.h: there are too many pairs of them, and the loops
 * are short beside those of a unit's posterior. */

/* w and rss of (22) for one channel of one tile, and R_psi' e_2, which the gradient needs. */
static TARGET void NAME(condition)(
    int p, int q,
    const double *restrict block,      /* (p q + q (q + 1), LANES)  R_phipsi and the upper triangle of R_psi by rows, Gram */
    const double *restrict projection, /* (p + 1, LANES)            w_1, rss */
    const double *restrict w_fixed,    /* (q, LANES)                w_2 */
    const double *restrict beta,       /* (q,) */
    double *restrict projection_out,   /* (p + 1, LANES)            w, rss of (22) */
    double *restrict pull_out          /* (q, LANES)                R_psi' e_2 */
)
{
    for (int h = 0; h < LANES; h += WIDTH) {
        V rss = *(const V *)(projection + p * LANES + h);
        const double *number = block + h;
        for (int i = 0; i < p; i++) {
            V rest = *(const V *)(projection + i * LANES + h);
            for (int j = 0; j < q; j++, number += LANES)
                rest = FNMA(*(const V *)number, SPREAD(beta[j]), rest);
            *(V *)(projection_out + i * LANES + h) = rest;
        }
        for (int j = 0; j < q; j++)
            *(V *)(pull_out + j * LANES + h) = (V){0};
        for (int i = 0; i < q; i++) {
            V rest = *(const V *)(w_fixed + i * LANES + h);
            for (int j = i; j < q; j++)
                rest = FNMA(*(const V *)(number + (j - i) * LANES), SPREAD(beta[j]), rest);
            rss = FMA(rest, rest, rss);
            for (int j = i; j < q; j++, number += LANES)
                *(V *)(pull_out + j * LANES + h) = FMA(*(const V *)number, rest, *(const V *)(pull_out + j * LANES + h));
        }
        *(V *)(projection_out + p * LANES + h) = rss;
    }
}

/* Adds one channel of one tile to the sums (23), for modes first .. last - 1. */
static TARGET void NAME(add_fixed)(
    int p, int q, int first, int last,
    int own_gram,                  /*                            0: another channel has the same Gram matrices */
    int pull_step,                 /*                            doubles from one mode's pull to the next one's */
    const double *restrict block,  /* (p q + q (q + 1), LANES)   as in `condition` */
    const double *restrict pull,   /* (1 or K, q, LANES) */
    const T *restrict weights,     /* (K,)                       responsibilities */
    const T *restrict rests,       /* (K, p)                     e - B E d of `expect` */
    V *restrict sums               /* (K, 2 q + q (q + 1) / 2)   in, out: R_phipsi' (e - B E d), R_psi' e_2, Gram */
)
{
    const int n_gram = q * (q + 1) / 2;
    const double *const gram = block + (p * q + n_gram) * LANES;
    for (int k = first; k < last; k++) {
        V *restrict sum = sums + k * (2 * q + n_gram);
        for (int h = 0; h < PARTS; h++) {
            const V weight = weights[k].part[h];
            const double *number = block + h * WIDTH;
            for (int i = 0; i < p; i++) {
                const V rest = weight * rests[k * p + i].part[h];
                for (int j = 0; j < q; j++, number += LANES)
                    sum[j] = FMA(rest, *(const V *)number, sum[j]);
            }
            for (int j = 0; j < q; j++)
                sum[q + j] = FMA(weight, *(const V *)(pull + k * pull_step + j * LANES + h * WIDTH), sum[q + j]);
            if (own_gram)
                for (int i = 0; i < n_gram; i++)
                    sum[2 * q + i] = FMA(weight, *(const V *)(gram + i * LANES + h * WIDTH), sum[2 * q + i]);
        }
    }
}

/* The sums of all lanes: g (K, Q), H (K, Q2). */
static TARGET void NAME(reduce_fixed)(
    const lanes_pack *pack, const lanes_parameters *theta,
    const V *sums,                  /* channel by channel: (K, 2 q + q (q + 1) / 2) */
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
            const V *const sum = sums + k * (2 * q + n_gram);
            const double sigma = sqrt(theta->noise_variances[(int64_t)k * C + c]);
            for (int j = 0; j < q; j++)
                g[k * Q + at + j] = sigma * NAME(total)(sum[j]) + NAME(total)(sum[q + j]);
            for (int i = 0; i < n_gram; i++)
                H[k * Q2 + gram_at + i] = twin == c ? NAME(total)(sum[2 * q + i]) : H[k * Q2 + twin_at + i];
        }
        sums += K * (2 * q + n_gram);
        at += q;
        gram_at += n_gram;
    }
}
