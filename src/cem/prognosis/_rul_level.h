/* ln P(x | k, r) of one unit for all candidate remaining lives, once per instruction level: model.md (10)-(12) with
 * R S(r) in place of R.
 *
 * Included by _rul_kernel.h with LEVEL(name), WIDTH (candidates in a register), V, U (vectors of doubles and of 64-bit
 * integers), TARGET, FMA(a, b, c) = ab + c and FNMA(a, b, c) = c - ab defined. There is no include guard on purpose.
 *
 * As in _blocks_level.h: Sigma / s2 = U Q^-1 U' with U unit upper triangular and Q diagonal, so that C = R S(r) U is a
 * triangle again and A = Q + C'C costs half of what I + B'B does. With e = w - R S(r) mu and y = A^-1 C'e,
 * |E d|^2 = sum Q y^2 / s2 and |e - B E d|^2 = |e - C y|^2 / s2. */

typedef double LEVEL(vector) __attribute__((vector_size(8 * WIDTH)));
typedef unsigned long long LEVEL(bits) __attribute__((vector_size(8 * WIDTH)));
typedef double LEVEL(loose) __attribute__((vector_size(8 * WIDTH), aligned(8), may_alias)); /* in unaligned arrays */
typedef long long LEVEL(loose_bits) __attribute__((vector_size(8 * WIDTH), aligned(8), may_alias));

#define V LEVEL(vector)
#define U LEVEL(bits)
#define SPREAD(x) ((x) - (V){0})
#define LOAD(pointer) ((V) * (const LEVEL(loose) *)(pointer))

/* One channel; p is a constant wherever this is inlined, so that all loops over coefficients unroll. */
static inline __attribute__((always_inline)) TARGET void LEVEL(channel)(const int p, RUL_ARGUMENTS) {
    for (ptrdiff_t g = 0; g < n_grid; g += WIDTH) {
        V RS[RUL_LARGEST_SIZE][RUL_LARGEST_SIZE];
        UNROLL for (int i = 0; i < p; i++) /* the same for all modes */
            UNROLL for (int j = i; j < p; j++) {
                V sum = R[i * p + i] * LOAD(S + (i * p + j) * n_grid + g);
                UNROLL for (int m = i + 1; m <= j; m++)
                    sum = FMA(SPREAD(R[i * p + m]), LOAD(S + (m * p + j) * n_grid + g), sum);
                RS[i][j] = sum;
            }
        const double *mode = modes;
        for (int k = 0; k < n_modes; k++, mode += RUL_CONSTANTS + 2 * p + p * p) {
            const double *Q = mode + RUL_CONSTANTS, *mean = Q + p, *factor = mean + p;
            V C[RUL_LARGEST_SIZE][RUL_LARGEST_SIZE], A[RUL_LARGEST_SIZE][RUL_LARGEST_SIZE];
            V e[RUL_LARGEST_SIZE], y[RUL_LARGEST_SIZE];
            UNROLL for (int m = 0; m < p; m++) { /* row m of C and e; A = Q + C'C and y = C'e grow with it */
                V rest = SPREAD(w[m]);
                UNROLL for (int j = m; j < p; j++) rest = FNMA(RS[m][j], SPREAD(mean[j]), rest);
                e[m] = rest;
                C[m][m] = RS[m][m];
                UNROLL for (int j = m + 1; j < p; j++) {
                    V entry = RS[m][j];
                    UNROLL for (int h = m; h < j; h++) entry = FMA(RS[m][h], SPREAD(factor[h * p + j]), entry);
                    C[m][j] = entry;
                }
                UNROLL for (int i = m; i < p; i++) {
                    UNROLL for (int j = m; j <= i; j++) {
                        if (m > 0) A[i][j] = FMA(C[m][i], C[m][j], A[i][j]);
                        else if (i == j) A[i][j] = FMA(C[0][i], C[0][i], SPREAD(Q[i]));
                        else A[i][j] = C[0][i] * C[0][j];
                    }
                    y[i] = m > 0 ? FMA(C[m][i], rest, y[i]) : C[m][i] * rest;
                }
            }
            double *total = total_out + k * n_grid + g, *mantissa = mantissa_out + k * n_grid + g;
            long long *exponent = exponent_out + k * n_grid + g;
            V product = LOAD(mantissa);
            U power = (U) * (const LEVEL(loose_bits) *)exponent;
            UNROLL for (int j = 0; j < p; j++) { /* column j of L in place, forward substitution beside it */
                const V pivot = A[j][j], reciprocal = SPREAD(1.0) / pivot;
                product *= pivot;
                if (j % 3 == 2 || j == p - 1) { /* keeps the product of all pivots in range: one log at the end */
                    power += (U)product >> 52;
                    product = (V)(((U)product & ((U){0} + RUL_MANTISSA_BITS)) | (U)SPREAD(1.0));
                }
                UNROLL for (int i = j + 1; i < p; i++) {
                    const V entry = A[i][j], lower = entry * reciprocal;
                    UNROLL for (int m = j + 1; m <= i; m++)
                        A[i][m] = FNMA(lower, m == i ? entry : A[j][m], A[i][m]);
                    A[j][i] = entry; /* the upper triangle keeps L D */
                    A[i][j] = lower;
                    y[i] = FNMA(lower, y[j], y[i]);
                }
                y[j] *= reciprocal;
            }
            V misfit = (V){0};
            UNROLL for (int i = p - 1; i >= 0; i--) { /* E d; (12) */
                UNROLL for (int j = i + 1; j < p; j++) y[i] = FNMA(A[j][i], y[j], y[i]);
                misfit = FMA(y[i] * Q[i], y[i], misfit);
            }
            UNROLL for (int i = 0; i < p; i++) { /* e - B E d: never |e|^2 - |u|^2 */
                V rest = e[i];
                UNROLL for (int j = i; j < p; j++) rest = FNMA(C[i][j], y[j], rest);
                misfit = FMA(rest, rest, misfit);
            }
            const double constant = n * mode[1] + rss * mode[0] + mode[2];
            *(LEVEL(loose) *)total = LOAD(total) - 0.5 * FMA(misfit, SPREAD(mode[0]), SPREAD(constant));
            *(LEVEL(loose) *)mantissa = product;
            *(LEVEL(loose_bits) *)exponent = (LEVEL(loose_bits))power;
        }
    }
}

static TARGET void LEVEL(all_sizes)(int p, RUL_ARGUMENTS) {
#define CALL(size) \
    case size: LEVEL(channel)(size, RUL_PASSED); break;
    switch (p) { CALL(1) CALL(2) CALL(3) CALL(4) CALL(5) CALL(6) CALL(7) CALL(8) }
#undef CALL
}

#include "_linked_rul_level.h"

#undef V
#undef U
#undef SPREAD
#undef LOAD
#undef LEVEL
#undef WIDTH
#undef TARGET
#undef FMA
#undef FNMA
