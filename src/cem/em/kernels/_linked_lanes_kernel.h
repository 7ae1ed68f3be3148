/* The E step of linked channels, (10)-(14) with (17) of model.md, with units side by side: once per instruction level.
 *
 * As in _linked.pxd: given the factors f the channels of a unit are independent, so they are gone through once as if f
 * were 0, which gives J and h, and once more when f is known. The quadratic form is that at the joint mode of t and f.
 * _linked_lanes.h has this file included; _vector.h says what its macros are. */

#define UPPER_AT(i, j) ((i) * p - (i) * ((i) - 1) / 2 + (j) - (i))
#define TRIANGLE(n) ((n) * ((n) + 1) / 2)
#define DATA_SIZE(p) (TRIANGLE(p) + (p) + 3)
#define CONSTANTS_SIZE(p, r) ((p) * (p) + (p) + 3 + (p) * (r))
#define KEPT_SIZE(p, r) (2 * (p) * (p) + 2 * (p) + (p) * (r))
/* Of one channel and mode: N, E, n, D, Q; then t f', and f and f f' where not all of a tile's units have all channels. */
#define SUMS_SIZE(p, r) (3 + (p) + TRIANGLE(p) + (p) * (r) + (r) + TRIANGLE(r))
#define FOR_SIZE(p, call) \
    switch (p) { \
    case 1: call(1); break; \
    case 2: call(2); break; \
    case 3: call(3); break; \
    case 4: call(4); break; \
    default: call(5); \
    }

/* (10), (12) of one channel as if f were 0, and its part of J and h. What is kept: B, e, L with the reciprocals of the
 * pivots on its diagonal, A^-1 Gamma, E d. */
INLINE void NAME(given_factors)(
    const int p, int r, const double *restrict data, const double *restrict theta, V *restrict J, V *restrict h,
    V *restrict kept_out, V *restrict mantissa, U *restrict exponent /* of the product of all pivots */
)
{
    const V *R = (const V *)data, *w = R + TRIANGLE(p);
    const double *factor = theta, *mean = factor + p * p, *gamma = mean + p + 3;
    const V root = SPREAD(mean[p]);
    V *B = kept_out, *e = B + p * p, *L = e + p, *X = L + p * p, *t = X + p * r;
    V b[LINKED_LARGEST_SIZE][LINKED_LARGEST_SIZE], A[LINKED_LARGEST_SIZE][LINKED_LARGEST_SIZE];
    V y[LINKED_LARGEST_SIZE], reciprocals[LINKED_LARGEST_SIZE];
    UNROLL for (int i = 0; i < p; i++) {
        V rest = w[i];
        UNROLL for (int m = i; m < p; m++)
            rest = FNMA(R[UPPER_AT(i, m)], SPREAD(mean[m]), rest);
        rest *= root;
        e[i] = rest;
        UNROLL for (int j = 0; j < p; j++) {
            V entry = R[UPPER_AT(i, i)] * SPREAD(factor[i * p + j]);
            UNROLL for (int m = i + 1; m < p; m++)
                entry = FMA(R[UPPER_AT(i, m)], SPREAD(factor[m * p + j]), entry);
            b[i][j] = entry;
            B[i * p + j] = entry;
        }
        UNROLL for (int j = 0; j < p; j++) {
            y[j] = i > 0 ? FMA(b[i][j], rest, y[j]) : b[i][j] * rest;
            UNROLL for (int m = 0; m <= j; m++) {
                const V so_far = i > 0 ? A[j][m] : SPREAD(m == j ? 1.0 : 0.0);
                A[j][m] = FMA(b[i][j], b[i][m], so_far);
            }
        }
    }
    V product = *mantissa;
    UNROLL for (int j = 0; j < p; j++) { /* L D L' */
        const V pivot = A[j][j], reciprocal = SPREAD(1.0) / pivot;
        reciprocals[j] = reciprocal;
        product *= pivot;
        if (j % 3 == 2 || j == p - 1)
            product = NAME(mantissa)(product, exponent);
        UNROLL for (int i = j + 1; i < p; i++) {
            const V entry = A[i][j], lower = entry * reciprocal;
            UNROLL for (int m = j + 1; m <= i; m++)
                A[i][m] = FNMA(lower, m == i ? entry : A[j][m], A[i][m]);
            A[j][i] = entry; /* the upper triangle keeps D L' */
            A[i][j] = lower;
            L[i * p + j] = lower;
            y[i] = FNMA(lower, y[j], y[i]);
        }
        L[j * p + j] = reciprocal;
    }
    *mantissa = product;
    UNROLL for (int i = p - 1; i >= 0; i--) {
        y[i] *= reciprocals[i];
        UNROLL for (int j = i + 1; j < p; j++)
            y[i] = FNMA(A[j][i], y[j], y[i]);
        t[i] = y[i];
    }
    for (int a = 0; a < r; a++) {
        V x[LINKED_LARGEST_SIZE], sum = h[a];
        UNROLL for (int i = 0; i < p; i++) {
            x[i] = SPREAD(gamma[i * r + a]);
            sum = FMA(x[i], y[i], sum);
            UNROLL for (int j = 0; j < i; j++)
                x[i] = FNMA(A[i][j], x[j], x[i]);
        }
        h[a] = sum;
        UNROLL for (int i = p - 1; i >= 0; i--) {
            x[i] *= reciprocals[i];
            UNROLL for (int j = i + 1; j < p; j++)
                x[i] = FNMA(A[j][i], x[j], x[i]);
        }
        UNROLL for (int i = 0; i < p; i++) {
            X[i * r + a] = x[i];
            x[i] = SPREAD(gamma[i * r + a]) - x[i];
        }
        V *row = J + a * r;
        for (int c = 0; c <= a; c++) {
            V entry = row[c];
            UNROLL for (int i = 0; i < p; i++)
                entry = FMA(x[i], SPREAD(gamma[i * r + c]), entry);
            row[c] = entry;
        }
    }
}

/* E t in the place of E d, and the channel's part of the quadratic form. */
INLINE V NAME(misfit_at)(
    const int p, int r, const double *restrict theta, const V *restrict f, V *restrict kept
)
{
    const double *gamma = theta + p * p + p + 3;
    const V *B = kept, *e = B + p * p, *X = e + p + p * p;
    V *t = kept + 2 * p * p + p + p * r;
    V y[LINKED_LARGEST_SIZE], own[LINKED_LARGEST_SIZE], misfit = {0};
    UNROLL for (int i = 0; i < p; i++) {
        y[i] = t[i];
        own[i] = (V){0};
    }
    for (int a = 0; a < r; a++) {
        const V shared = f[a];
        UNROLL for (int i = 0; i < p; i++) {
            y[i] = FMA(X[i * r + a], shared, y[i]);
            own[i] = FMA(SPREAD(gamma[i * r + a]), shared, own[i]);
        }
    }
    UNROLL for (int i = 0; i < p; i++) {
        const V apart = y[i] - own[i];
        misfit = FMA(apart, apart, misfit);
        t[i] = y[i];
        V rest = e[i];
        UNROLL for (int j = 0; j < p; j++)
            rest = FNMA(B[i * p + j], y[j], rest);
        misfit = FMA(rest, rest, misfit);
    }
    return misfit;
}

/* Vectors that one unit and mode leave: what is kept of each channel, then J and its inverse, f and the pivots. */
static int64_t NAME(kept_size)(const linked_pack *pack, int r)
{
    int64_t size = 2 * r * r + 2 * r;
    for (int c = 0; c < pack->n_channels; c++)
        size += KEPT_SIZE(pack->sizes[c], r);
    return size;
}

/* (10)-(12) and (17) of a tile under one mode; returns ln P(x | k). */
static TARGET V NAME(posterior)(
    const linked_pack *pack, const double *restrict data, const double *restrict mode, int r,
    V *restrict kept_out /* (kept_size,)  J holds its unit lower factor's inverse, then J^-1; 1 / pivots; E f */
)
{
    const int C = pack->n_channels;
    V *J = kept_out, *inverse = J + r * r, *reciprocals = inverse + r * r, *f = reciprocals + r, *kept = f + r;
    V mantissa = SPREAD(1.0), misfit = {0};
    U exponent = {0};
    int64_t bias = 0;
    for (int a = 0; a < r; a++) {
        f[a] = (V){0};
        for (int c = 0; c <= a; c++)
            J[a * r + c] = SPREAD(a == c ? 1.0 : 0.0);
    }
    const double *at = data, *theta = mode;
    V *place = kept;
    for (int c = 0; c < C; c++) {
        const int p = pack->sizes[c];
        const V *rest = (const V *)at + TRIANGLE(p) + p;
#define CALL(size) NAME(given_factors)(size, r, at, theta, J, f, place, &mantissa, &exponent)
        FOR_SIZE(p, CALL)
#undef CALL
        bias += (p + 2) / 3;
        misfit = FMA(rest[0], SPREAD(theta[p * p + p + 1]), misfit);
        misfit = FMA(rest[1], SPREAD(theta[p * p + p + 2]), misfit);
        at += DATA_SIZE(p) * WIDTH;
        theta += CONSTANTS_SIZE(p, r);
        place += KEPT_SIZE(p, r);
    }
    for (int a = 0; a < r; a++) { /* J = L D L' in place, and L^-1 beside it */
        for (int c = 0; c < a; c++) {
            V entry = J[a * r + c];
            for (int m = 0; m < c; m++)
                entry = FNMA(J[a * r + m], J[m * r + c], entry);
            J[c * r + a] = entry; /* the upper triangle keeps D L' */
            J[a * r + c] = entry * reciprocals[c];
        }
        V pivot = J[a * r + a];
        for (int m = 0; m < a; m++)
            pivot = FNMA(J[a * r + m], J[m * r + a], pivot);
        reciprocals[a] = SPREAD(1.0) / pivot;
        mantissa *= pivot;
        mantissa = NAME(mantissa)(mantissa, &exponent);
        bias++;
        for (int c = 0; c < a; c++) {
            V entry = -J[a * r + c];
            for (int m = c + 1; m < a; m++)
                entry = FNMA(J[a * r + m], inverse[m * r + c], entry);
            inverse[a * r + c] = entry;
        }
        for (int c = 0; c < a; c++) /* L^-1 h */
            f[a] = FNMA(J[a * r + c], f[c], f[a]);
    }
    for (int a = r - 1; a >= 0; a--) {
        f[a] *= reciprocals[a];
        for (int c = a + 1; c < r; c++)
            f[a] = FNMA(J[c * r + a], f[c], f[a]);
    }
    for (int a = 0; a < r; a++)
        misfit = FMA(f[a], f[a], misfit);
    theta = mode;
    place = kept;
    for (int c = 0; c < C; c++) {
        const int p = pack->sizes[c];
#define CALL(size) misfit += NAME(misfit_at)(size, r, theta, f, place)
        FOR_SIZE(p, CALL)
#undef CALL
        theta += CONSTANTS_SIZE(p, r);
        place += KEPT_SIZE(p, r);
    }
    const V determinant = NAME(logarithm)(mantissa, NAME(exponent_sum)(exponent, 1023.0 * (double)bias));
    return SPREAD(-0.5) * (misfit + determinant);
}

/* Adds a channel's moments, weighted: (14) with E t for E d, and Sum rho E[t f']. */
INLINE void NAME(moments)(
    const int p, int r, const double *restrict data, const double *restrict theta, V weight, const V *restrict inverse,
    const V *restrict reciprocals, const V *restrict f, const V *restrict kept, V *restrict work /* (p r,) */,
    V *restrict sums
)
{
    const V *B = kept, *e = B + p * p, *L = e + p, *X = L + p * p, *t = X + p * r;
    const V *rest = (const V *)data + TRIANGLE(p) + p;
    const V rho = weight * rest[2];
    V *scaled = work; /* U D^-1 */
    V M[LINKED_LARGEST_SIZE][LINKED_LARGEST_SIZE], K[LINKED_LARGEST_SIZE][LINKED_LARGEST_SIZE];
    V misfit = rest[0] * SPREAD(theta[p * p + p + 1]);
    UNROLL for (int i = 0; i < p; i++)
        UNROLL for (int j = 0; j <= i; j++)
            M[i][j] = (V){0};
    for (int a = 0; a < r; a++) { /* U = A^-1 Gamma L_J^-T;  M = U D^-1 U' */
        V u[LINKED_LARGEST_SIZE], over[LINKED_LARGEST_SIZE], row[LINKED_LARGEST_SIZE];
        UNROLL for (int i = 0; i < p; i++)
            u[i] = X[i * r + a];
        for (int c = 0; c < a; c++) {
            const V entry = inverse[a * r + c];
            UNROLL for (int i = 0; i < p; i++)
                u[i] = FMA(X[i * r + c], entry, u[i]);
        }
        const V reciprocal = reciprocals[a];
        UNROLL for (int i = 0; i < p; i++) {
            over[i] = u[i] * reciprocal;
            scaled[i * r + a] = over[i];
            row[i] = (V){0};
        }
        UNROLL for (int i = 0; i < p; i++)
            UNROLL for (int j = 0; j <= i; j++)
                M[i][j] = FMA(over[i], u[j], M[i][j]);
        V square = {0};
        UNROLL for (int i = 0; i < p; i++) { /* tr(B M B') */
            UNROLL for (int j = 0; j < p; j++)
                row[i] = FMA(B[i * p + j], u[j], row[i]);
            square = FMA(row[i], row[i], square);
        }
        misfit = FMA(square, reciprocal, misfit);
    }
    /* A^-1 = L^-T D^-1 L^-1, into M; p - tr A^-1 */
    UNROLL for (int i = 0; i < p; i++)
        UNROLL for (int j = 0; j < i; j++) {
            V entry = -L[i * p + j];
            UNROLL for (int m = j + 1; m < i; m++)
                entry = FNMA(L[i * p + m], K[m][j], entry);
            K[i][j] = entry;
        }
    UNROLL for (int i = 0; i < p; i++) {
        UNROLL for (int j = 0; j <= i; j++) {
            V entry = i == j ? L[i * p + i] : L[i * p + i] * K[i][j];
            UNROLL for (int m = i + 1; m < p; m++)
                entry = FMA(K[m][i] * L[m * p + m], K[m][j], entry);
            M[i][j] += entry;
            if (i == j)
                misfit += SPREAD(1.0) - entry;
        }
        V left = e[i];
        UNROLL for (int j = 0; j < p; j++)
            left = FNMA(B[i * p + j], t[j], left);
        misfit = FMA(left, left, misfit);
    }
    sums[0] += rho;
    sums[1] = FMA(rho, misfit, sums[1]);
    sums[2] = FMA(rho, rest[1], sums[2]);
    V *D = sums + 3, *Q = D + p, *tf = Q + TRIANGLE(p);
    UNROLL for (int i = 0; i < p; i++) {
        const V first = rho * t[i];
        D[i] += first;
        UNROLL for (int j = 0; j <= i; j++)
            Q[TRIANGLE(i) + j] += FMA(first, t[j], rho * M[i][j]);
    }
    for (int a = 0; a < r; a++) { /* U D^-1 L_J^-1 */
        V x[LINKED_LARGEST_SIZE];
        UNROLL for (int i = 0; i < p; i++)
            x[i] = FMA(t[i], f[a], scaled[i * r + a]);
        for (int c = a + 1; c < r; c++) {
            const V entry = inverse[c * r + a];
            UNROLL for (int i = 0; i < p; i++)
                x[i] = FMA(scaled[i * r + c], entry, x[i]);
        }
        UNROLL for (int i = 0; i < p; i++)
            tf[i * r + a] = FMA(rho, x[i], tf[i * r + a]);
    }
}

/* The sums of one tile under one mode. */
static TARGET void NAME(add)(
    const linked_pack *pack, int64_t tile, const double *restrict mode, int r, V weight, const V *restrict kept_all,
    V *restrict work /* (p r + r (r + 1) / 2,) */, V *restrict shared /* (1 + r + r (r + 1) / 2,) */,
    V *restrict sums /* (sum of SUMS_SIZE,) */
)
{
    const V *inverse = kept_all + r * r, *reciprocals = inverse + r * r, *f = reciprocals + r, *kept = f + r;
    V *ff = work + LINKED_LARGEST_SIZE * r;
    for (int a = 0; a < r; a++) /* J^-1 + f f' */
        for (int c = 0; c <= a; c++) {
            V entry = FMA(f[a], f[c], a == c ? reciprocals[a] : reciprocals[a] * inverse[a * r + c]);
            for (int m = a + 1; m < r; m++)
                entry = FMA(inverse[m * r + a] * reciprocals[m], inverse[m * r + c], entry);
            ff[TRIANGLE(a) + c] = entry;
        }
    const int complete = pack->complete[tile];
    shared[0] += weight;
    if (complete) {
        for (int a = 0; a < r; a++)
            shared[1 + a] = FMA(weight, f[a], shared[1 + a]);
        for (int i = 0; i < TRIANGLE(r); i++)
            shared[1 + r + i] = FMA(weight, ff[i], shared[1 + r + i]);
    }
    const double *data = pack->data + tile * pack->tile_size * WIDTH, *theta = mode;
    for (int c = 0; c < pack->n_channels; c++) {
        const int p = pack->sizes[c];
#define CALL(size) NAME(moments)(size, r, data, theta, weight, inverse, reciprocals, f, kept, work, sums)
        FOR_SIZE(p, CALL)
#undef CALL
        if (!complete) {
            const V rho = weight * ((const V *)data)[TRIANGLE(p) + p + 2];
            V *own = sums + 3 + p + TRIANGLE(p) + p * r;
            for (int a = 0; a < r; a++)
                own[a] = FMA(rho, f[a], own[a]);
            for (int i = 0; i < TRIANGLE(r); i++)
                own[r + i] = FMA(rho, ff[i], own[r + i]);
        }
        data += DATA_SIZE(p) * WIDTH;
        theta += CONSTANTS_SIZE(p, r);
        kept += KEPT_SIZE(p, r);
        sums += SUMS_SIZE(p, r);
    }
}

static int64_t NAME(sums_size)(const linked_pack *pack, int r)
{
    int64_t size = 1 + r + TRIANGLE(r);
    for (int c = 0; c < pack->n_channels; c++)
        size += SUMS_SIZE(pack->sizes[c], r);
    return size;
}

static int64_t NAME(scratch_size)(const linked_pack *pack, int n_modes, int r)
{
    return n_modes * (NAME(kept_size)(pack, r) + NAME(sums_size)(pack, r) + 2) + LINKED_LARGEST_SIZE * r
           + TRIANGLE(r);
}

/* The sums of all lanes in the layout that the kernel of _linked.pyx shares. */
static TARGET void NAME(reduce)(
    const linked_pack *pack, int K, int r, const V *sums, double log_likelihood, double *restrict sums_out
)
{
    const int C = pack->n_channels;
    int64_t P = 0, P2 = 0;
    for (int c = 0; c < C; c++) {
        P += pack->sizes[c];
        P2 += (int64_t)pack->sizes[c] * pack->sizes[c];
    }
    double *N = sums_out + 1, *N_channel = N + K, *D = N_channel + (int64_t)K * C, *Q = D + K * P, *E = Q + K * P2;
    double *n = E + (int64_t)K * C, *tf = n + (int64_t)K * C, *f_sum = tf + K * P * r, *ff = f_sum + (int64_t)K * C * r;
    sums_out[0] = log_likelihood;
    for (int k = 0; k < K; k++) {
        const V *shared = sums;
        N[k] = NAME(total)(shared[0]);
        sums += 1 + r + TRIANGLE(r);
        for (int c = 0; c < C; c++) {
            const int p = pack->sizes[c];
            const V *own = sums + 3 + p + TRIANGLE(p) + p * r;
            *N_channel++ = NAME(total)(sums[0]);
            *E++ = NAME(total)(sums[1]);
            *n++ = NAME(total)(sums[2]);
            for (int i = 0; i < p; i++)
                *D++ = NAME(total)(sums[3 + i]);
            for (int i = 0; i < p; i++)
                for (int j = 0; j <= i; j++)
                    Q[i * p + j] = Q[j * p + i] = NAME(total)(sums[3 + p + TRIANGLE(i) + j]);
            Q += p * p;
            for (int i = 0; i < p * r; i++)
                *tf++ = NAME(total)(sums[3 + p + TRIANGLE(p) + i]);
            for (int a = 0; a < r; a++)
                *f_sum++ = NAME(total)(own[a] + shared[1 + a]);
            for (int a = 0; a < r; a++)
                for (int b = 0; b <= a; b++) {
                    const int i = TRIANGLE(a) + b;
                    ff[a * r + b] = ff[b * r + a] = NAME(total)(own[r + i] + shared[1 + r + i]);
                }
            ff += r * r;
            sums += SUMS_SIZE(p, r);
        }
    }
}

static TARGET int64_t NAME(densities)(
    const linked_pack *pack, const linked_parameters *theta, int64_t first, int64_t last, double *scratch,
    double *restrict log_densities_out
)
{
    const int K = theta->n_modes, r = theta->rank;
    for (int64_t unit = first; unit < last; unit += WIDTH) {
        const int64_t tile = unit / WIDTH;
        const int n_lanes = last - unit < WIDTH ? (int)(last - unit) : WIDTH;
        for (int k = 0; k < K; k++) {
            const V density = NAME(posterior)(
                pack, pack->data + tile * pack->tile_size * WIDTH, theta->prepared + k * theta->mode_size, r,
                (V *)scratch);
            for (int lane = 0; lane < n_lanes; lane++) {
                if (!isfinite(density[lane]))
                    return tile;
                log_densities_out[(unit + lane) * K + k] = density[lane];
            }
        }
    }
    return -1;
}

static TARGET int64_t NAME(expectation)(
    const linked_pack *pack, const linked_parameters *theta, int64_t first, int64_t last, int given, double *scratch,
    double *restrict responsibilities, double *restrict sums_out
)
{
    const int K = theta->n_modes, r = theta->rank;
    const int64_t of_kept = NAME(kept_size)(pack, r), of_sums = NAME(sums_size)(pack, r);
    V *kept = (V *)scratch, *sums = kept + K * of_kept, *joint = sums + K * of_sums, *weights = joint + K;
    V *work = weights + K;
    double log_likelihood = 0.0;
    for (int64_t i = 0; i < K * of_sums; i++)
        sums[i] = (V){0};
    for (int64_t unit = first; unit < last; unit += WIDTH) {
        const int64_t tile = unit / WIDTH;
        const int n_lanes = last - unit < WIDTH ? (int)(last - unit) : WIDTH;
        const double *data = pack->data + tile * pack->tile_size * WIDTH;
        for (int k = 0; k < K; k++) {
            weights[k] = (V){0};
            if (given) {
                int any = 0;
                for (int lane = 0; lane < n_lanes; lane++) {
                    const double rho = responsibilities[(unit + lane) * K + k];
                    weights[k][lane] = rho < LINKED_NEGLIGIBLE ? 0.0 : rho;
                    any |= !(rho < LINKED_NEGLIGIBLE);
                }
                if (!any)
                    continue;
            }
            joint[k] = NAME(posterior)(pack, data, theta->prepared + k * theta->mode_size, r, kept + k * of_kept);
            for (int lane = 0; lane < n_lanes; lane++)
                if (!isfinite(joint[k][lane]))
                    return tile;
            if (given)
                NAME(add)(pack, tile, theta->prepared + k * theta->mode_size, r, weights[k], kept + k * of_kept, work,
                          sums + k * of_sums, sums + k * of_sums + 1 + r + TRIANGLE(r));
        }
        if (given)
            continue;
        for (int lane = 0; lane < n_lanes; lane++) { /* (3) */
            const int64_t l = unit + lane;
            const double *log_weights = theta->log_weights + (theta->own_weights ? l * K : 0);
            double *rho = responsibilities + l * K, top = -INFINITY, sum = 0.0;
            const int known = pack->known_modes[l];
            for (int k = 0; k < K; k++) {
                rho[k] = log_weights[k] + joint[k][lane];
                top = rho[k] > top ? rho[k] : top;
            }
            if (known >= 0) {
                if (!(rho[known] < INFINITY))
                    return tile;
                log_likelihood += rho[known];
                for (int k = 0; k < K; k++)
                    rho[k] = k == known ? 1.0 : 0.0;
            } else {
                if (!isfinite(top))
                    return tile;
                for (int k = 0; k < K; k++)
                    sum += exp(rho[k] - top);
                log_likelihood += top + log(sum);
                sum = 0.0;
                for (int k = 0; k < K; k++) {
                    rho[k] = exp(theta->temperature * (rho[k] - top));
                    sum += rho[k];
                }
                for (int k = 0; k < K; k++)
                    rho[k] /= sum;
            }
            for (int k = 0; k < K; k++)
                weights[k][lane] = rho[k] < LINKED_NEGLIGIBLE ? 0.0 : rho[k];
        }
        for (int k = 0; k < K; k++) {
            int any = 0;
            for (int lane = 0; lane < n_lanes; lane++)
                any |= weights[k][lane] != 0.0;
            if (any)
                NAME(add)(pack, tile, theta->prepared + k * theta->mode_size, r, weights[k], kept + k * of_kept, work,
                          sums + k * of_sums, sums + k * of_sums + 1 + r + TRIANGLE(r));
        }
    }
    NAME(reduce)(pack, K, r, sums, log_likelihood, sums_out);
    return -1;
}

#undef UPPER_AT
#undef TRIANGLE
#undef DATA_SIZE
#undef CONSTANTS_SIZE
#undef KEPT_SIZE
#undef SUMS_SIZE
#undef FOR_SIZE
