/* The loops over units of shared designs, for each instruction level of the machine. */

#ifndef CEM_SHARED_H
#define CEM_SHARED_H

#define LEVEL_PREFIX shared
#define LEVEL_BODY "_shared_loops.h"
#include "_levels.h"

typedef struct {
    void (*innovate)(int, int64_t, const double *, const double *, double, double *, double *);
    void (*weight)(int, int64_t, const double *, const double *, double *);
    int64_t (*weigh)(int, int64_t, int64_t, const double *, int64_t, int64_t, const int *, double, double *, double *,
                     double *);
} shared_level;

/* In the order of _lanes.h. */
static const shared_level shared_levels[N_LEVELS] = {
    {shared_innovate_baseline, shared_weight_baseline, shared_weigh_baseline},
#if N_LEVELS > 1
    {shared_innovate_avx2, shared_weight_avx2, shared_weigh_avx2},
    {shared_innovate_avx512, shared_weight_avx512, shared_weigh_avx512},
#endif
};

#endif
