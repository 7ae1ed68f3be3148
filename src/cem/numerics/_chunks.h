/* Chunks of a pass over a fleet, taken by threads one after the other: a fast thread takes more of them. */

#ifndef CEM_CHUNKS_H
#define CEM_CHUNKS_H

#include <stdint.h>

/* The next chunk that no thread has taken yet. */
static inline int64_t next_chunk(int64_t *claimed)
{
    return __atomic_fetch_add(claimed, 1, __ATOMIC_RELAXED);
}

#endif
