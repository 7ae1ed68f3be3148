/* Four channels side by side: the streaming kernels of model.md (9)-(11), once per instruction level.
 *
 * Included by _blocks_kernels.h with LEVEL(name), WIDTH (doubles in a register: 2 or 4), V, U (vectors of doubles and
 * of 64-bit integers), V_SQRT, V_MADD(a, b, c) = c + ab,
 * V_NMADD(a, b, c) = c - ab and TARGET defined. There is no
 * include guard on purpose.
 *
 * A block is four channels whose bases have the same size p. Every quantity of a block is an array (..., LANES) of
 * doubles, lane = channel, aligned to 32 bytes; a level whose registers hold fewer lanes walks over them in strips.
 * Upper triangles are packed row by row from the diagonal on (UPPER).
 */

#define AT(array, i) (*(V *)((array) + LANES * (i)))
#define CAT(array, i) (*(const V *)((array) + LANES * (i)))
#define UPPER(i, j) ((i) * p - (i) * ((i) - 1) / 2 + (j) - (i))
#define BITS(x) ((U)(x))

/* One reading in internal coordinates: phi~ = S^-T phi, x~ = (x - phi'b) / s; missing ones become rows of zeros, which
 * rotate nothing. Returns whether a number is too large to be squared (or not finite). */
static inline ALWAYS_INLINE TARGET int LEVEL(prepare_block)(
    const int p,
    const int one_basis,       /* whether the four channels have the same basis */
    const double *coordinates, /* (p + T + 1, LANES)  b, S with the reciprocals of its diagonal, 1/s; T = p(p+1)/2 */
    const int *phi_of_lane,    /* (LANES,)  where the basis of the lane's channel begins in phi */
    const int *x_of_lane,      /* (LANES,)  where its reading is in x; padding: one that is NaN */
    const double *phi,         /* the different bases at the time of the reading */
    const double *x,           /* NaN = missing */
    double *row_out,           /* (p + 2, LANES)  phi~, x~, 1 where observed and 0 where not */
    U *n_observed              /* (WIDTH,)  one is taken off for every value that is there */
) {
    U bad = {0};
    const V zero = {0}, one = zero + 1.0, large = zero + LARGEST * LARGEST;
    for (int strip = 0; strip < LANES; strip += WIDTH) {
        const double *b = coordinates + strip, *S = b + LANES * p, *reciprocal_scale = S + LANES * (p * (p + 1) / 2);
        double *row = row_out + strip;
        V reading = zero, size = zero;
        UNROLL for (int lane = 0; lane < WIDTH; lane++) reading[lane] = x[x_of_lane[strip + lane]];
        const U observed = (U)(reading == reading);
        V centred = reading;
        UNROLL for (int i = 0; i < p; i++) {
            V value = zero;
            if (one_basis) value = V_SAME(phi[phi_of_lane[0] + i]);
            else UNROLL for (int lane = 0; lane < WIDTH; lane++) value[lane] = phi[phi_of_lane[strip + lane] + i];
            centred = V_NMADD(value, CAT(b, i), centred);
            UNROLL for (int j = 0; j < i; j++) value = V_NMADD(CAT(S, UPPER(j, i)), AT(row, j), value);
            value = (V)(BITS(value * CAT(S, UPPER(i, i))) & observed);
            size = V_MADD(value, value, size);
            AT(row, i) = value;
        }
        centred = (V)(BITS(centred * CAT(reciprocal_scale, 0)) & observed);
        size = V_MADD(centred, centred, size);
        AT(row, p) = centred;
        AT(row, p + 1) = (V)(BITS(one) & observed);
        bad |= ~(U)(size <= large);
        *n_observed += observed;
    }
    unsigned long long any = 0;
    for (int lane = 0; lane < WIDTH; lane++) any |= bad[lane];
    return any != 0;
}

/* One row more: p Givens rotations per lane; (9). The diagonal of R is never below NOTHING, so that nothing is divided
 * by zero. The sum of squares carries its rounding error along; that is exact once it exceeds the square added. */
static inline ALWAYS_INLINE TARGET void LEVEL(rotate_block)(
    const int p,
    double *row,  /* (p + 2, LANES)  phi~, x~, weight; phi~ is destroyed */
    double *state /* (T + p + 3, LANES)  R, w, rss, its correction, n */
) {
    for (int strip = 0; strip < LANES; strip += WIDTH) {
        double *R = state + strip, *w = R + LANES * (p * (p + 1) / 2), *rest = w + LANES * p;
        double *phi = row + strip;
        V x = CAT(phi, p);
        UNROLL for (int i = 0; i < p; i++) {
            const V diagonal = AT(R, UPPER(i, i)), entry = AT(phi, i);
            const V length = V_SQRT(V_MADD(entry, entry, diagonal * diagonal));
            const V cosine = diagonal / length, sine = entry / length; /* exactly 1 and 0 where the entry is 0 */
            AT(R, UPPER(i, i)) = length;
            UNROLL for (int j = i + 1; j < p; j++) {
                const V above = AT(R, UPPER(i, j)), below = AT(phi, j);
                AT(R, UPPER(i, j)) = V_MADD(sine, below, cosine * above);
                AT(phi, j) = V_NMADD(sine, above, cosine * below);
            }
            const V above = AT(w, i);
            AT(w, i) = V_MADD(sine, x, cosine * above);
            x = V_NMADD(sine, above, cosine * x);
        }
        const V square = x * x, sum = AT(rest, 0), total = sum + square;
        AT(rest, 0) = total;
        AT(rest, 1) += square - (total - sum);
        AT(rest, 2) += CAT(phi, p + 1);
    }
}

/* (10), (11) of one block for every mode, added to the sums over blocks, root-free and with as little scaling as can be:
 * Sigma / s2 = U Q^-1 U' with U unit upper triangular and Q diagonal, C = R U (upper triangular, its diagonal is R's),
 * e = w - R mu, A = Q + C'C = L D L'. Diagonal scaling changes no rounding error, so this is (10) in other words:
 * A is that of (10) scaled by Q from both sides, and y becomes sqrt(s2 / Q) E d of (12) up to a rotation. */
static inline ALWAYS_INLINE TARGET void LEVEL(read_block)(
    const int p,
    const int n_modes,
    const double *modes, /* (2 + K (T + p + 3), LANES): see the layout in _blocks_kernels.h */
    const double *state, /* (T + p + 3, LANES)  R, w, rss, its correction, n */
    double *sums,        /* (2 + 4K, LANES)  rss/s2_0, n log 2 pi s2_0; per mode the misfit less the first of these,
                            n (log s2 - log s2_0), mantissa and exponent of |A| */
    V *scratch           /* (2p^2 + 2p,) */
) {
    const int T = p * (p + 1) / 2;
    const V one = (V){0} + 1.0;
    V *C = scratch, *A = C + p * p, *e = A + p * p, *y = e + p;
    for (int strip = 0; strip < LANES; strip += WIDTH) {
        const double *R = state + strip, *w = R + LANES * T, *rest = w + LANES * p;
        const double *constants = modes + strip;
        double *sum = sums + strip;
        const V rss = CAT(rest, 0) + CAT(rest, 1), n = CAT(rest, 2);
        AT(sum, 0) = V_MADD(rss, CAT(constants, 0), AT(sum, 0));
        AT(sum, 1) = V_MADD(n, CAT(constants, 1), AT(sum, 1));
        constants += 2 * LANES;
        sum += 2 * LANES;
        for (int k = 0; k < n_modes; k++, constants += LANES * (T + p + 3), sum += 4 * LANES) {
            const double *factor = constants + 3 * LANES, *mean = factor + LANES * T;
            UNROLL for (int m = 0; m < p; m++) { /* row m of C and e; A = Q + C'C and y = C'e grow with it */
                V rest_m = CAT(w, m);
                UNROLL for (int j = m; j < p; j++) rest_m = V_NMADD(CAT(R, UPPER(m, j)), CAT(mean, j), rest_m);
                e[m] = rest_m;
                C[m * p + m] = CAT(R, UPPER(m, m));
                UNROLL for (int j = m + 1; j < p; j++) {
                    V entry = CAT(R, UPPER(m, j));
                    UNROLL for (int h = m; h < j; h++)
                        entry = V_MADD(CAT(R, UPPER(m, h)), CAT(factor, UPPER(h, j)), entry);
                    C[m * p + j] = entry;
                }
                UNROLL for (int i = m; i < p; i++) {
                    UNROLL for (int j = m; j <= i; j++) {
                        if (m > 0) A[i * p + j] = V_MADD(C[m * p + i], C[m * p + j], A[i * p + j]);
                        else if (i == j) A[i * p + j] = V_MADD(C[i], C[j], CAT(factor, UPPER(i, i)));
                        else A[i * p + j] = C[i] * C[j];
                    }
                    if (m > 0) y[i] = V_MADD(C[m * p + i], rest_m, y[i]);
                    else y[i] = C[i] * rest_m;
                }
            }
            V mantissa = AT(sum, 2);
            U exponent = BITS(AT(sum, 3));
            UNROLL for (int j = 0; j < p; j++) { /* column j of L in place, forward substitution beside it */
                const V pivot = A[j * p + j], reciprocal = one / pivot;
                mantissa *= pivot;
                if (j % 3 == 2 || j == p - 1) { /* keeps the product of all pivots in range: one log at the end */
                    exponent += BITS(mantissa) >> 52;
                    mantissa = (V)((BITS(mantissa) & MANTISSA_BITS) | BITS(one));
                }
                UNROLL for (int i = j + 1; i < p; i++) {
                    const V entry = A[i * p + j], lower = entry * reciprocal;
                    UNROLL for (int m = j + 1; m <= i; m++)
                        /* A[m, j] of rows already done is L; times the pivot it is the entry again: kept above */
                        A[i * p + m] = V_NMADD(lower, m == i ? entry : A[j * p + m], A[i * p + m]);
                    A[j * p + i] = entry; /* the upper triangle keeps V = L D */
                    A[i * p + j] = lower;
                    y[i] = V_NMADD(lower, y[j], y[i]);
                }
                y[j] *= reciprocal;
            }
            V misfit = (V){0};
            UNROLL for (int i = p - 1; i >= 0; i--) { /* E d; (12) */
                UNROLL for (int j = i + 1; j < p; j++) y[i] = V_NMADD(A[j * p + i], y[j], y[i]);
                const V weighted = y[i] * CAT(factor, UPPER(i, i));
                misfit = i == p - 1 ? (V)(weighted * y[i]) : (V)V_MADD(weighted, y[i], misfit);
            }
            UNROLL for (int i = 0; i < p; i++) { /* e - B E d: never |e|^2 - |u|^2 */
                V value = e[i];
                UNROLL for (int j = i; j < p; j++) value = V_NMADD(C[i * p + j], y[j], value);
                misfit = V_MADD(value, value, misfit);
            }
            AT(sum, 0) = V_MADD(misfit, CAT(constants, 0), V_MADD(rss, CAT(constants, 1), AT(sum, 0)));
            AT(sum, 1) = V_MADD(n, CAT(constants, 2), AT(sum, 1));
            AT(sum, 2) = mantissa;
            AT(sum, 3) = (V)exponent;
        }
    }
}

/* ------------------------------------------------------------------ all blocks; small p are compile-time constants */

#define FOR_SIZE(p, call)                      \
    switch (p) {                               \
    case 1: { call(1) } break;                 \
    case 2: { call(2) } break;                 \
    case 3: { call(3) } break;                 \
    case 4: { call(4) } break;                 \
    default: { call(p) }                       \
    }

static TARGET int LEVEL(prepare)(
    const lanes_t *lanes, int first, int stop, const double *phi, const double *x, double *rows, int *n_observed
) {
    int bad = 0;
    U observed = {0};
    for (int block = first; block < stop; block++) {
        const double *coordinates = lanes->coordinates + lanes->coordinate_offsets[block];
        const int *starts = lanes->phi_of_lane + LANES * block, *places = lanes->x_of_lane + LANES * block;
        double *row = rows + lanes->row_offsets[block];
        if (lanes->one_basis[block]) {
#define CALL(size) bad |= LEVEL(prepare_block)(size, 1, coordinates, starts, places, phi, x, row, &observed);
            FOR_SIZE(lanes->sizes[block], CALL)
#undef CALL
        } else {
            bad |= LEVEL(prepare_block)(lanes->sizes[block], 0, coordinates, starts, places, phi, x, row, &observed);
        }
    }
    unsigned long long count = 0;
    for (int lane = 0; lane < WIDTH; lane++) count -= observed[lane];
    *n_observed = (int)count;
    return bad;
}

static TARGET void LEVEL(rotate)(const lanes_t *lanes, int first, int stop, double *rows, double *states) {
    for (int block = first; block < stop; block++) {
        double *row = rows + lanes->row_offsets[block];
        double *state = states + lanes->state_offsets[block];
#define CALL(size) LEVEL(rotate_block)(size, row, state);
        FOR_SIZE(lanes->sizes[block], CALL)
#undef CALL
    }
}

static TARGET void LEVEL(read)(const lanes_t *lanes, const double *states, double *sums, double *scratch) {
    const V zero = {0}, one = zero + 1.0;
    double *sum = sums;
    for (int i = 0; i < 2 * LANES; i += WIDTH) *(V *)(sum + i) = zero;
    sum += 2 * LANES;
    for (int k = 0; k < lanes->n_modes; k++, sum += 4 * LANES) { /* the mantissas begin at 1 */
        UNROLL for (int i = 0; i < LANES; i += WIDTH) {
            AT(sum + i, 0) = zero;
            AT(sum + i, 1) = zero;
            AT(sum + i, 2) = one;
            AT(sum + i, 3) = zero;
        }
    }
    for (int block = 0; block < lanes->n_blocks; block++) {
        const double *modes = lanes->modes + lanes->mode_offsets[block];
        const double *state = states + lanes->state_offsets[block];
        const int n_modes = lanes->n_modes;
#define CALL(size) LEVEL(read_block)(size, n_modes, modes, state, sums, local);
        switch (lanes->sizes[block]) {
        case 1: { V local[4]; CALL(1) } break;
        case 2: { V local[12]; CALL(2) } break;
        case 3: { V local[24]; CALL(3) } break;
        case 4: { V local[40]; CALL(4) } break;
        default: { V *local = (V *)scratch; CALL(lanes->sizes[block]) }
        }
#undef CALL
    }
}

#undef FOR_SIZE
#undef AT
#undef CAT
#undef UPPER
#undef BITS
