/* Readings against the reflectors of a design, eight channels side by side: the columns of a block are a constant, so
 * that a compiler keeps them in registers. Compiled twice on x86-64, for AVX2 too; both give the same bits, as nothing
 * is contracted. */
#ifndef CEM_ROTATION_H
#define CEM_ROTATION_H

#include <stddef.h>
#include <string.h>

#include "_cpu.h"

#define ROTATION_WIDTH 8
#define FOR_WIDTH _Pragma("GCC unroll 8") for (int c = 0; c < ROTATION_WIDTH; c++)
#define ROTATION_INLINE static inline __attribute__((always_inline))
#define ROTATION_ARGUMENTS                                                                                     \
    int n, int p, int rank,                                                                                    \
        const double *restrict V,     /* (n, p)      trapezoidal, zeros above */                               \
        const double *restrict T,     /* (p, p)      upper triangular */                                       \
        const double *restrict Y,     /* (n, WIDTH) */                                                         \
        double *restrict along,       /* (p, WIDTH)  scratch */                                                \
        double *restrict first_out,   /* (p, WIDTH)  zeros where n < p */                                      \
        double *restrict squares_out  /* (WIDTH,) */

/* Half a row: four columns. */
typedef double rotation_half __attribute__((vector_size(32), aligned(8), may_alias));
#define HALF(pointer) (*(rotation_half *)(pointer))
#define UNROLL_ROTATION _Pragma("GCC unroll 4")

/* T' from the last row up: those above are still V'Y. */
ROTATION_INLINE void apply_transposed(int p, int rank, const double *T, double *along) {
    for (int j = rank - 1; j >= 0; j--) {
        double *target = along + j * ROTATION_WIDTH;
        FOR_WIDTH target[c] *= T[j * p + j];
        for (int m = 0; m < j; m++) FOR_WIDTH target[c] += T[m * p + j] * along[m * ROTATION_WIDTH + c];
    }
}

/* Q'Y = Y - V T' V'Y: its first rows, and the squared norms of the rest. `size` is p where that is a constant. */
ROTATION_INLINE void rotated(const int size, ROTATION_ARGUMENTS) {
    rotation_half squares = {0.0}, more_squares = {0.0};
    memset(along, 0, sizeof(double) * ROTATION_WIDTH * (size_t)p);
    if (size) { /* at least as many readings as coefficients */
        rotation_half low[4], high[4];
        UNROLL_ROTATION for (int j = 0; j < size; j++) low[j] = high[j] = (rotation_half){0.0};
        for (int i = 0; i < n; i++) {
            const double *y = Y + ROTATION_WIDTH * (ptrdiff_t)i, *v = V + (ptrdiff_t)i * size;
            const rotation_half first = *(const rotation_half *)y, second = *(const rotation_half *)(y + 4);
            UNROLL_ROTATION for (int j = 0; j < size; j++) {
                low[j] += v[j] * first;
                high[j] += v[j] * second;
            }
        }
        UNROLL_ROTATION for (int j = 0; j < size; j++) {
            HALF(along + j * ROTATION_WIDTH) = low[j];
            HALF(along + j * ROTATION_WIDTH + 4) = high[j];
        }
        apply_transposed(size, size, T, along);
        UNROLL_ROTATION for (int j = 0; j < size; j++) {
            low[j] = HALF(along + j * ROTATION_WIDTH);
            high[j] = HALF(along + j * ROTATION_WIDTH + 4);
        }
        for (int i = 0; i < n; i++) {
            const double *y = Y + ROTATION_WIDTH * (ptrdiff_t)i, *v = V + (ptrdiff_t)i * size;
            rotation_half first = *(const rotation_half *)y, second = *(const rotation_half *)(y + 4);
            UNROLL_ROTATION for (int j = 0; j < size; j++) {
                first -= v[j] * low[j];
                second -= v[j] * high[j];
            }
            if (i < size) {
                HALF(first_out + ROTATION_WIDTH * i) = first;
                HALF(first_out + ROTATION_WIDTH * i + 4) = second;
            } else {
                squares += first * first;
                more_squares += second * second;
            }
        }
    } else {
        double total[ROTATION_WIDTH] = {0.0};
        memset(first_out, 0, sizeof(double) * ROTATION_WIDTH * (size_t)p);
        for (int i = 0; i < n; i++) {
            const double *y = Y + ROTATION_WIDTH * (ptrdiff_t)i;
            for (int j = 0; j < rank; j++) FOR_WIDTH along[j * ROTATION_WIDTH + c] += V[(ptrdiff_t)i * p + j] * y[c];
        }
        apply_transposed(p, rank, T, along);
        for (int i = 0; i < n; i++) {
            double rest[ROTATION_WIDTH];
            FOR_WIDTH rest[c] = Y[ROTATION_WIDTH * (ptrdiff_t)i + c];
            for (int j = 0; j < rank; j++) FOR_WIDTH rest[c] -= V[(ptrdiff_t)i * p + j] * along[j * ROTATION_WIDTH + c];
            if (i < rank) FOR_WIDTH first_out[ROTATION_WIDTH * i + c] = rest[c];
            else FOR_WIDTH total[c] += rest[c] * rest[c];
        }
        squares = HALF(total);
        more_squares = HALF(total + 4);
    }
    HALF(squares_out) = squares;
    HALF(squares_out + 4) = more_squares;
}

#define ROTATION_PASSED n, p, rank, V, T, Y, along, first_out, squares_out
#define ROTATE_BLOCK(name, target)                                                                             \
    static target void name(ROTATION_ARGUMENTS) {                                                              \
        switch (n >= p ? p : 0) {                                                                              \
        case 1: rotated(1, ROTATION_PASSED); break;                                                            \
        case 2: rotated(2, ROTATION_PASSED); break;                                                            \
        case 3: rotated(3, ROTATION_PASSED); break;                                                            \
        case 4: rotated(4, ROTATION_PASSED); break;                                                            \
        default: rotated(0, ROTATION_PASSED);                                                                  \
        }                                                                                                      \
    }
ROTATE_BLOCK(rotate_block_baseline, )
#if defined(__x86_64__)
ROTATE_BLOCK(rotate_block_avx2, __attribute__((target("avx2"))))
#endif

/* `wide` is cpu_has_level(1); the caller asks once, because that takes longer than rotating a unit. */
static inline void rotate_block(int wide, ROTATION_ARGUMENTS) {
#if defined(__x86_64__)
    if (wide) {
        rotate_block_avx2(ROTATION_PASSED);
        return;
    }
#endif
    (void)wide;
    rotate_block_baseline(ROTATION_PASSED);
}

/* Is every cell of consecutive columns observed? NaN is missing. */
static inline int is_complete(int n, int n_columns, const double *values, ptrdiff_t stride) {
    int missing = 0;
    for (int i = 0; i < n; i++, values += stride)
        for (int c = 0; c < n_columns; c++) missing |= values[c] != values[c];
    return !missing;
}

/* Rows of some consecutive columns, at most WIDTH, zeros beside them. */
static inline void gather_complete(int n, int width, const double *values, ptrdiff_t stride, double *readings_out) {
    for (int i = 0; i < n; i++, values += stride, readings_out += ROTATION_WIDTH) {
        if (width == ROTATION_WIDTH) memcpy(readings_out, values, sizeof(double) * ROTATION_WIDTH);
        else
            for (int c = 0; c < ROTATION_WIDTH; c++) readings_out[c] = c < width ? values[c] : 0.0;
    }
}

#endif
