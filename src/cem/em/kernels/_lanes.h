/* The expectation step with units side by side in SIMD registers: data structures, and one kernel for each instruction
 * level of the machine. The kernel itself, one source for all levels, is _lanes_kernel.h. */

#ifndef CEM_LANES_H
#define CEM_LANES_H

#include "_lanes_types.h"

#ifndef LANES_PARTS
#define LANES_PARTS 2
#endif

#define LEVEL_PREFIX lanes
#define LEVEL_BODY "_lanes_kernel.h"
#include "_levels.h"

/* In rising order; bits agree within a level. */
static const lanes_level lanes_levels[N_LEVELS] = {
    {2 * LANES_PARTS, lanes_scratch_size_baseline, lanes_expectation_baseline, lanes_elementary_baseline},
#if N_LEVELS > 1
    {4 * LANES_PARTS, lanes_scratch_size_avx2, lanes_expectation_avx2, lanes_elementary_avx2},
    {8 * LANES_PARTS, lanes_scratch_size_avx512, lanes_expectation_avx512, lanes_elementary_avx512},
#endif
};

#endif
