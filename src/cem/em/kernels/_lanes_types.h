/* Data structures of the expectation step with units side by side: what a caller of its kernels has to know. */

#ifndef CEM_LANES_TYPES_H
#define CEM_LANES_TYPES_H

#include <stdint.h>

/* A fleet's sufficient statistics (9), interleaved: in every tile, number i of LANES units lies in LANES neighbouring
 * doubles. T tiles, C channels. */
typedef struct {
    int n_channels;
    const int *sizes;             /* (C,)        p_c */
    const double *data;           /* blocks, each aligned to its vectors, that the next two point to */
    const int64_t *factor_at;     /* (T, C)      [upper triangle of R by rows, n]; -1: missing on the whole tile */
    const int64_t *projection_at; /* (T, C)      [w, rss] */
    const int64_t *order;         /* (T, LANES)  unit in the lane, -1: none (at the end of the last tile) */
    const int *known_modes;       /* (T, LANES)  mode of the unit, -1: unknown; null: all unknown */
    const int *tile_modes;        /* (T,)        mode known of all the tile's units, -1: none is known, -2: mixed */
    const int *fixed_sizes;       /* (C,)        q_c; null: no channel has fixed columns, and the rest is not used */
    const int64_t *fixed_at;      /* (T, C)      [R_phipsi by rows, upper triangle of R_psi by rows, lower triangle of
                                                  the Gram matrix by rows]; -1: missing on the whole tile, or q is 0 */
    const int64_t *fixed_projection_at; /* (T, C) [w_2] */
    const int *gram_twins;        /* (C,)        the first channel with the same Gram matrices on all tiles */
    int by_mode;                  /*             whether some fixed column has a coefficient for each mode */
    int fetch_ahead;              /*             whether the data are too many for the second cache */
} lanes_pack;

/* Parameters, packed as in parameters.py; P and P2 are the sums of p_c and of p_c^2. */
typedef struct {
    int n_modes;
    const double *log_weights;      /* (K,)     log pi */
    const double *unit_log_weights; /* (L, K)   in place of log pi; null: all units have log pi */
    const double *means;            /* (K, P)   mu */
    const double *factors;          /* (K, P2)  Lambda */
    const double *noise_variances;  /* (K, C)   sigma^2 */
    const double *fixed;            /* (K, Q)   beta; null: no fixed columns */
} lanes_parameters;

/* Where a kernel met what is no number. */
typedef struct {
    int64_t unit;
    int mode, channel; /* -1: no single channel is at fault */
} lanes_failure;

/* The kernels of one instruction level. */
typedef struct {
    int lanes;
    int64_t (*scratch_size)(const lanes_pack *, int);
    int (*expectation)(const lanes_pack *, const lanes_parameters *, int64_t, int64_t, double, int, double *, double *,
                       double *, double *, double *, lanes_failure *);
    void (*elementary)(int, int64_t, const double *, double *);
} lanes_level;

#endif
