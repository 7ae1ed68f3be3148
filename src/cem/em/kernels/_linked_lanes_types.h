/* Linked channels with units side by side in SIMD registers: what a caller of the kernels has to know. */

#ifndef CEM_LINKED_LANES_TYPES_H
#define CEM_LINKED_LANES_TYPES_H

#include <stdint.h>

#define LINKED_LARGEST_SIZE 5 /* of a basis */
#define LINKED_WIDEST 8       /* lanes of any level: bounds of chunks are multiples of it */
#define LINKED_NEGLIGIBLE 1e-30 /* a unit's share of a mode below which it adds nothing to the sums but rounding */

/* Statistics (9) of a fleet, tile by tile of as many units as there are lanes, every number `lanes` times side by side.
 * A tile has, channel by channel: R (upper triangle by rows), w, rss, n, and 1 where the channel is observed. Lanes of
 * channels that are not, and of units that there are not, hold zeros. */
typedef struct {
    int n_channels;
    const int *sizes;              /* (C,)       p_c */
    int64_t n_units;
    int64_t tile_size;             /*            doubles of a tile over the number of lanes */
    const double *data;            /* (T, tile_size, lanes) */
    const unsigned char *complete; /* (T,)       whether all its units have all channels */
    const int *known_modes;        /* (L,)       -1: not known */
} linked_pack;

typedef struct {
    int n_modes, rank;
    int64_t mode_size;         /* doubles of a mode */
    const double *prepared;    /* (K, mode_size)  by channel: Lambda / sigma, mu, 1/sigma, 1/s2, log 2 pi s2, Gamma */
    const double *log_weights; /* (K,) or (L, K) */
    int own_weights;           /* whether each unit has its own */
    double temperature;        /* beta in responsibilities ~ (pi P)^beta */
} linked_parameters;

/* The kernels of one instruction level. */
typedef struct {
    int lanes;
    /* Vectors of scratch that `expectation` needs. */
    int64_t (*scratch_size)(const linked_pack *, int n_modes, int rank);
    /* ln P(x | k) of units first .. last - 1; a tile's number where one of its units has no finite density, or -1. */
    int64_t (*densities)(const linked_pack *, const linked_parameters *, int64_t first, int64_t last, double *scratch,
                         double *log_densities_out /* (L, K) */);
    /* (10)-(14) with (17). With `given` responsibilities only the sums over them: l is then 0. */
    int64_t (*expectation)(const linked_pack *, const linked_parameters *, int64_t first, int64_t last, int given,
                           double *scratch, double *responsibilities /* (L, K) */, double *sums_out);
} linked_level;

#endif
