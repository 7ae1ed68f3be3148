/* Which instruction levels this processor and its operating system have: 0 baseline, 1 AVX2 with FMA, 2 AVX-512.
 *
 * Asks cpuid directly, because __builtin_cpu_supports of some compilers always answers no. */
#ifndef CEM_CPU_H
#define CEM_CPU_H

#if defined(__x86_64__)
#include <cpuid.h>

static inline int cpu_has_level(int level) {
    unsigned int a, b, c, d, saved, high;
    if (level == 0) return 1;
    if (!__get_cpuid(1, &a, &b, &c, &d) || !(c & bit_FMA) || !(c & bit_AVX) || !(c & bit_OSXSAVE)) return 0;
    __asm__ volatile("xgetbv" : "=a"(saved), "=d"(high) : "c"(0)); /* registers that the operating system saves */
    if (!__get_cpuid_count(7, 0, &a, &b, &c, &d) || !(b & bit_AVX2) || (saved & 0x06) != 0x06) return 0;
    return level == 1 || (level == 2 && (b & bit_AVX512F) && (saved & 0xe6) == 0xe6);
}

#else

static inline int cpu_has_level(int level) { return level == 0; }

#endif
#endif
