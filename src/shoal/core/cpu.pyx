"""Which build of the kernels this machine runs.

A level is an instruction set: `baseline` is that of every machine of the architecture,
`v3` and `v4` are x86-64-v3 (AVX2, FMA) and x86-64-v4 (AVX-512).
The environment variable SHOAL_ISA forces a level at import.
"""

import os

cdef extern from *:
    """
    /* 0 baseline, 1 v3, 2 v4: what the processor has and the system saves. */
    #if defined(SHOAL_PLAIN)
    static int shoal_level(void) { return 0; }
    #elif (defined(__GNUC__) || defined(__clang__)) && defined(__x86_64__)
    static int shoal_level(void)
    {
        __builtin_cpu_init();
        if (!(__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")
              && __builtin_cpu_supports("bmi") && __builtin_cpu_supports("bmi2")))
            return 0;
        return 1 + (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw")
                    && __builtin_cpu_supports("avx512cd") && __builtin_cpu_supports("avx512dq")
                    && __builtin_cpu_supports("avx512vl"));
    }
    #elif defined(_M_X64)
    #include <immintrin.h>
    #include <intrin.h>
    static int shoal_level(void)
    {
        int r[4];
        unsigned long long saved;
        __cpuid(r, 0);
        if (r[0] < 7)
            return 0;
        __cpuid(r, 1);
        if ((r[2] & (1 << 27)) == 0 || (r[2] & (1 << 12)) == 0) /* OSXSAVE, FMA */
            return 0;
        saved = _xgetbv(0);
        __cpuidex(r, 7, 0);
        /* AVX2, BMI1, BMI2; then F, DQ, CD, BW, VL of AVX-512 */
        if ((saved & 0x6) != 0x6 || (r[1] & 0x128) != 0x128)
            return 0;
        return 1 + ((saved & 0xE6) == 0xE6 && (r[1] & 0xD0030000u) == 0xD0030000u);
    }
    #else
    static int shoal_level(void) { return 0; }
    #endif
    """
    int shoal_level() nogil

_LEVELS = ("baseline", "v3", "v4")


def levels() -> list[str]:
    """Levels that this machine can run, lowest first."""
    return list(_LEVELS[: shoal_level() + 1])


def chosen() -> str:
    """The level in use: the highest, or the one that SHOAL_ISA names."""
    wanted = os.environ.get("SHOAL_ISA", "")
    if not wanted:
        return list(levels()).pop()
    if wanted not in _LEVELS:
        raise ImportError(f"SHOAL_ISA={wanted} is unknown: use one of {', '.join(_LEVELS)}")
    if wanted not in levels():
        raise ImportError(
            f"SHOAL_ISA={wanted} needs instructions that this machine lacks: "
            f"use one of {', '.join(levels())}"
        )
    return wanted
