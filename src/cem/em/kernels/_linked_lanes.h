/* The E step of linked channels with units side by side: one kernel for each instruction level of the machine. */

#ifndef CEM_LINKED_LANES_H
#define CEM_LINKED_LANES_H

#include "_linked_lanes_types.h"

#define LEVEL_PREFIX linked
#define LEVEL_BODY "_linked_lanes_kernel.h"
#include "_levels.h"

/* In rising order; bits agree within a level. */
static const linked_level linked_levels[N_LEVELS] = {
    {2, linked_scratch_size_baseline, linked_densities_baseline, linked_expectation_baseline},
#if N_LEVELS > 1
    {4, linked_scratch_size_avx2, linked_densities_avx2, linked_expectation_avx2},
    {8, linked_scratch_size_avx512, linked_densities_avx512, linked_expectation_avx512},
#endif
};

#endif
