/* ln P(x | k, r) of one unit whose channels share factors, for all candidate remaining lives, once per instruction
 * level: model.md (17) over the factorisation of _rul_level.h, which includes this file and whose definitions it uses.
 *
 * With g = U^-1 Lambda Gamma / s and P = Q g, a channel adds (g - X)'P to J and P'y to h, X = A^-1 P. Once f = J^-1 h is
 * known, y + X f takes the place of y: the quadratic form is that at the joint mode of t and f, never a difference. So
 * every channel is gone through twice, and what the first time leaves is kept. */

/* What is kept of one channel: C and e, then y and X; in vectors. */
#define KEPT(p, r) ((p) * (p) + 2 * (p) + (p) * (r))

/* S(r) applied to R, the same for all modes. */
static inline __attribute__((always_inline)) TARGET void LEVEL(shifted)(
    const int p, ptrdiff_t n_grid, const double *S, const double *R, V *RS_out
) {
    UNROLL for (int i = 0; i < p; i++)
        UNROLL for (int j = i; j < p; j++) {
            V sum = SPREAD(R[i * p + i]) * LOAD(S + (i * p + j) * n_grid);
            UNROLL for (int m = i + 1; m <= j; m++)
                sum = FMA(SPREAD(R[i * p + m]), LOAD(S + (m * p + j) * n_grid), sum);
            RS_out[i * p + j] = sum;
        }
}

/* (10)-(12) as if f were 0, and the channel's part of J and h. */
static inline __attribute__((always_inline)) TARGET void LEVEL(given_factors)(
    const int p, int r, const V *RS, const double *w, const double *mode, V *J, V *h, V *kept, V *product_inout,
    U *power_inout
) {
    const double *Q = mode + RUL_CONSTANTS, *mean = Q + p, *factor = mean + p, *g = factor + p * p, *P = g + p * r;
    const V precision_root = SPREAD(sqrt(mode[0]));
    V *C = kept, *e = C + p * p, *y_kept = e + p, *X = y_kept + p;
    V A[RUL_LARGEST_SIZE][RUL_LARGEST_SIZE], y[RUL_LARGEST_SIZE], reciprocals[RUL_LARGEST_SIZE];
    UNROLL for (int m = 0; m < p; m++) {
        V row[RUL_LARGEST_SIZE], rest = SPREAD(w[m]);
        UNROLL for (int j = m; j < p; j++) rest = FNMA(RS[m * p + j], SPREAD(mean[j]), rest);
        rest *= precision_root;
        e[m] = rest;
        row[m] = RS[m * p + m];
        UNROLL for (int j = m + 1; j < p; j++) {
            V entry = RS[m * p + j];
            UNROLL for (int i = m; i < j; i++) entry = FMA(RS[m * p + i], SPREAD(factor[i * p + j]), entry);
            row[j] = entry;
        }
        UNROLL for (int j = m; j < p; j++) C[m * p + j] = row[j];
        UNROLL for (int i = m; i < p; i++) {
            UNROLL for (int j = m; j <= i; j++) {
                if (m > 0) A[i][j] = FMA(row[i], row[j], A[i][j]);
                else if (i == j) A[i][j] = FMA(row[i], row[i], SPREAD(Q[i]));
                else A[i][j] = row[i] * row[j];
            }
            y[i] = m > 0 ? FMA(row[i], rest, y[i]) : row[i] * rest;
        }
    }
    V product = *product_inout;
    U power = *power_inout;
    UNROLL for (int j = 0; j < p; j++) { /* L D L' in place: the lower triangle keeps L */
        const V pivot = A[j][j], reciprocal = SPREAD(1.0) / pivot;
        reciprocals[j] = reciprocal;
        product *= pivot;
        if (j % 3 == 2 || j == p - 1) {
            power += (U)product >> 52;
            product = (V)(((U)product & ((U){0} + RUL_MANTISSA_BITS)) | (U)SPREAD(1.0));
        }
        UNROLL for (int i = j + 1; i < p; i++) {
            const V entry = A[i][j], lower = entry * reciprocal;
            UNROLL for (int m = j + 1; m <= i; m++) A[i][m] = FNMA(lower, m == i ? entry : A[j][m], A[i][m]);
            A[j][i] = entry;
            A[i][j] = lower;
            y[i] = FNMA(lower, y[j], y[i]);
        }
    }
    *product_inout = product;
    *power_inout = power;
    UNROLL for (int i = p - 1; i >= 0; i--) {
        y[i] *= reciprocals[i];
        UNROLL for (int j = i + 1; j < p; j++) y[i] = FNMA(A[j][i], y[j], y[i]);
        y_kept[i] = y[i];
    }
    for (int a = 0; a < r; a++) {
        V x[RUL_LARGEST_SIZE], sum = h[a];
        UNROLL for (int i = 0; i < p; i++) {
            x[i] = SPREAD(P[i * r + a]);
            UNROLL for (int j = 0; j < i; j++) x[i] = FNMA(A[i][j], x[j], x[i]);
        }
        UNROLL for (int i = p - 1; i >= 0; i--) {
            x[i] *= reciprocals[i];
            UNROLL for (int j = i + 1; j < p; j++) x[i] = FNMA(A[j][i], x[j], x[i]);
        }
        UNROLL for (int i = 0; i < p; i++) {
            X[i * r + a] = x[i];
            sum = FMA(SPREAD(P[i * r + a]), y[i], sum);
            x[i] = SPREAD(g[i * r + a]) - x[i];
        }
        h[a] = sum;
        for (int b = 0; b <= a; b++) {
            V entry = J[a * r + b];
            UNROLL for (int i = 0; i < p; i++) entry = FMA(x[i], SPREAD(P[i * r + b]), entry);
            J[a * r + b] = entry;
        }
    }
}

/* The channel's part of the quadratic form, f known. */
static inline __attribute__((always_inline)) TARGET V LEVEL(misfit_at)(
    const int p, int r, const double *mode, const V *kept, const V *f
) {
    const double *Q = mode + RUL_CONSTANTS, *g = Q + 2 * p + p * p;
    const V *C = kept, *e = C + p * p, *y_kept = e + p, *X = y_kept + p;
    V y[RUL_LARGEST_SIZE], misfit = (V){0};
    UNROLL for (int i = 0; i < p; i++) {
        V at = y_kept[i], own = (V){0};
        for (int a = 0; a < r; a++) {
            at = FMA(X[i * r + a], f[a], at);
            own = FMA(SPREAD(g[i * r + a]), f[a], own);
        }
        y[i] = at;
        own = at - own;
        misfit = FMA(own * SPREAD(Q[i]), own, misfit);
    }
    UNROLL for (int i = 0; i < p; i++) {
        V rest = e[i];
        UNROLL for (int j = i; j < p; j++) rest = FNMA(C[i * p + j], y[j], rest);
        misfit = FMA(rest, rest, misfit);
    }
    return misfit;
}

#define FOR_SIZE(p, call) \
    switch (p) { \
    case 1: call(1); break; case 2: call(2); break; case 3: call(3); break; case 4: call(4); break; \
    case 5: call(5); break; case 6: call(6); break; case 7: call(7); break; case 8: call(8); break; }

static TARGET void LEVEL(linked)(LINKED_RUL_ARGUMENTS) {
    V J[RUL_LARGEST_RANK * RUL_LARGEST_RANK], f[RUL_LARGEST_RANK], row[RUL_LARGEST_RANK];
    V *RS = (V *)scratch, *kept = RS + n_squares;
    for (ptrdiff_t at = 0; at < n_grid; at += WIDTH) {
        ptrdiff_t square = 0, linear = 0;
        for (int c = 0; c < n_channels; c++) {
            const int p = sizes[c];
#define SHIFTED(size) LEVEL(shifted)(size, n_grid, S + shift_starts[c] + at, R + square, RS + square)
            if (n[c] > 0) FOR_SIZE(p, SHIFTED)
#undef SHIFTED
            square += p * p;
        }
        for (int k = 0; k < n_modes; k++) {
            V product = SPREAD(1.0), misfit = (V){0};
            U power = (U){0};
            double constant = 0.0;
            const double *block = modes;
            V *left = kept;
            for (int a = 0; a < r; a++) {
                f[a] = (V){0};
                for (int b = 0; b <= a; b++) J[a * r + b] = SPREAD(a == b ? 1.0 : 0.0);
            }
            square = linear = 0;
            for (int c = 0; c < n_channels; c++) {
                const int p = sizes[c];
                const ptrdiff_t length = RUL_CONSTANTS + 2 * p + p * p + 2 * p * r;
                const double *mode = block + k * length;
                if (n[c] > 0) {
#define GIVEN_FACTORS(size) \
    LEVEL(given_factors)(size, r, RS + square, w + linear, mode, J, f, left, &product, &power)
                    FOR_SIZE(p, GIVEN_FACTORS)
#undef GIVEN_FACTORS
                    constant += n[c] * mode[1] + rss[c] * mode[0] + mode[2];
                    left += KEPT(p, r);
                }
                block += n_modes * length;
                square += p * p;
                linear += p;
            }
            for (int a = 0; a < r; a++) { /* L D L' of J, its pivots' reciprocals in row; f = J^-1 h */
                for (int b = 0; b < a; b++) {
                    V entry = J[a * r + b];
                    for (int m = 0; m < b; m++) entry = FNMA(J[a * r + m], J[m * r + b], entry);
                    J[b * r + a] = entry; /* the upper triangle keeps L D */
                    J[a * r + b] = entry * row[b];
                    f[a] = FNMA(J[a * r + b], f[b], f[a]);
                }
                V pivot = J[a * r + a];
                for (int m = 0; m < a; m++) pivot = FNMA(J[a * r + m], J[m * r + a], pivot);
                row[a] = SPREAD(1.0) / pivot;
                product *= pivot;
                power += (U)product >> 52;
                product = (V)(((U)product & ((U){0} + RUL_MANTISSA_BITS)) | (U)SPREAD(1.0));
            }
            for (int a = r - 1; a >= 0; a--) {
                f[a] *= row[a];
                for (int b = a + 1; b < r; b++) f[a] = FNMA(J[b * r + a], f[b], f[a]);
                misfit = FMA(f[a], f[a], misfit);
            }
            block = modes;
            left = kept;
            for (int c = 0; c < n_channels; c++) {
                const int p = sizes[c];
                const ptrdiff_t length = RUL_CONSTANTS + 2 * p + p * p + 2 * p * r;
                const double *mode = block + k * length;
                if (n[c] > 0) {
#define MISFIT_AT(size) misfit += LEVEL(misfit_at)(size, r, mode, left, f)
                    FOR_SIZE(p, MISFIT_AT)
#undef MISFIT_AT
                    left += KEPT(p, r);
                }
                block += n_modes * length;
            }
            const ptrdiff_t place = k * n_grid + at;
            *(LEVEL(loose) *)(total_out + place) = -0.5 * (misfit + SPREAD(constant));
            *(LEVEL(loose) *)(mantissa_out + place) = product;
            *(LEVEL(loose_bits) *)(exponent_out + place) = (LEVEL(loose_bits))power;
            if (directions) { /* what the readings say of gamma'f */
                const double *gamma = directions + k * r;
                V mean = (V){0}, variance = (V){0}, z[RUL_LARGEST_RANK];
                for (int a = 0; a < r; a++) {
                    mean = FMA(SPREAD(gamma[a]), f[a], mean);
                    z[a] = SPREAD(gamma[a]);
                    for (int b = 0; b < a; b++) z[a] = FNMA(J[a * r + b], z[b], z[a]);
                    variance = FMA(z[a] * z[a], row[a], variance);
                }
                *(LEVEL(loose) *)(mean_out + place) = mean;
                *(LEVEL(loose) *)(variance_out + place) = variance;
            }
        }
    }
}

#undef FOR_SIZE
#undef KEPT
