"""How XLA compiles in the tests: quickly, since most of the suite is compiling tiny programs.

Of a training step's 33 s of processor time in a test (jaxlib 0.10, one core) 16 are left: the
lowest level of optimisation, one module of code instead of 32, and the older emitter of fusions.
The first is a lasting flag; XLA ends the process at one it does not know, so the others are given
to the version that they were tried with. jaxlib 0.12 no longer has the older emitter, and fewer
modules save nothing there.
"""

from jaxlib.version import __version_info__

_HAS_OLDER_EMITTER = __version_info__[:2] == (0, 10)

FAST_COMPILATION = "--xla_backend_optimization_level=0"
if _HAS_OLDER_EMITTER:
    FAST_COMPILATION += (
        " --xla_cpu_parallel_codegen_split_count=1 --xla_cpu_use_fusion_emitters=false"
    )

# Options of one program, for a test that needs fusions emitted as they are at a user's.
EMITTED_AS_AT_USERS = {"xla_cpu_use_fusion_emitters": True} if _HAS_OLDER_EMITTER else {}
