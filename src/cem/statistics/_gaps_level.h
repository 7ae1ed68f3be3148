/* QR of channels with gaps, four side by side: model.md (9), once per instruction level.
 *
 * Included by _gaps.h with LEVEL(name) and TARGET defined; there is no include guard on purpose. No level contracts a
 * product and a sum into one operation, so that all of them give the same bits.
 *
 * A row that a channel lacks is a row of zeros in its readings and its design, so it adds nothing to R, w and rss. Each
 * reflector passes over the rows once, and computes in that pass the inner products that the next reflector needs. */

typedef double LEVEL(vector) __attribute__((vector_size(8 * GAPS_LANES)));
typedef long long LEVEL(mask) __attribute__((vector_size(8 * GAPS_LANES)));

#define V LEVEL(vector)
#define M LEVEL(mask)

static inline __attribute__((always_inline)) TARGET int LEVEL(channels)(const int p, GAPS_ARGUMENTS)
{
    V *a = (V *)work; /* (n, p + 1)  design and readings of the four channels; the rows are overwritten */
    V products[GAPS_LARGEST_SIZE + 1], centre[GAPS_LARGEST_SIZE];
    const double *column[GAPS_LANES];
    UNROLL for (int lane = 0; lane < GAPS_LANES; lane++)
        column[lane] = readings + (ptrdiff_t)channels[lane] * n;
    UNROLL for (int j = 0; j < p; j++)
        UNROLL for (int lane = 0; lane < GAPS_LANES; lane++)
            centre[j][lane] = centres[(ptrdiff_t)channels[lane] * p + j];
    UNROLL for (int j = 0; j <= p; j++) products[j] = (V){0};
    for (ptrdiff_t i = 0; i < n; i++) {
        V x = {column[0][i], column[1][i], column[2][i], column[3][i]};
        const M there = x == x;
        V *row = a + i * (p + 1), first = {0};
        UNROLL for (int j = 0; j < p; j++) {
            const V phi = design[j * n + i] - (V){0};
            x -= phi * centre[j];
            const V entry = (V)((M)phi & there);
            if (j == 0) first = entry;
            row[j] = entry;
            products[j] += first * entry;
        }
        x = (V)((M)x & there);
        row[p] = x;
        products[p] += first * x;
    }
    UNROLL for (int j = 0; j < p; j++) {
        V *top = a + j * (p + 1), factors[GAPS_LARGEST_SIZE + 1];
        V alpha = top[j], beta, scale;
        int sound = 1;
        UNROLL for (int lane = 0; lane < GAPS_LANES; lane++) {
            const double square = products[j][lane], norm = sqrt(square);
            sound &= square > 1e-250 && square < 1e250;
            beta[lane] = alpha[lane] < 0.0 ? norm : -norm;
            scale[lane] = 1.0 / (norm * (norm + fabs(alpha[lane])));
        }
        if (!sound) return 1;
        const V head = alpha - beta; /* the reflector is this, then the column below */
        UNROLL for (int k = j + 1; k <= p; k++) {
            factors[k] = (products[k] - beta * top[k]) * scale;
            top[k] -= head * factors[k];
        }
        top[j] = beta;
        UNROLL for (int k = j + 1; k <= p; k++) products[k] = (V){0};
        for (ptrdiff_t i = j + 1; i < n; i++) {
            V *row = a + i * (p + 1), next = {0};
            const V below = row[j];
            UNROLL for (int k = j + 1; k <= p; k++) {
                const V entry = row[k] - below * factors[k];
                if (k == j + 1) next = entry;
                row[k] = entry;
                products[k] += next * entry;
            }
        }
    }
    for (int lane = 0; lane < n_channels; lane++) {
        for (int i = 0; i < p; i++) {
            for (int j = 0; j < p; j++)
                R_out[(lane * p + i) * p + j] = j < i ? 0.0 : a[i * (p + 1) + j][lane];
            w_out[lane * p + i] = a[i * (p + 1) + p][lane];
        }
        rss_out[lane] = products[p][lane];
    }
    return 0;
}

static TARGET int LEVEL(any_size)(int p, GAPS_ARGUMENTS)
{
#define CALL(size) \
    case size: return LEVEL(channels)(size, GAPS_PASSED);
    switch (p) { CALL(1) CALL(2) CALL(3) CALL(4) CALL(5) CALL(6) }
#undef CALL
    return 1;
}

#undef V
#undef M
#undef LEVEL
#undef TARGET
