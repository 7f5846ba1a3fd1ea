"""Two virtual CPU devices for every test, asked for before JAX wakes up."""

import atexit
import os
import shutil
import tempfile

from tests.xla_flags import FAST_COMPILATION

os.environ["XLA_FLAGS"] = (
    os.environ.get("XLA_FLAGS", "")
    + f" --xla_force_host_platform_device_count=2 {FAST_COMPILATION}"
)

# What several tests compile is compiled once: by this process, by those that share the tests with
# it (they inherit the variable) and by the launchers. In the user's cache, where one is set.
if not os.environ.get("JAX_COMPILATION_CACHE_DIR"):
    os.environ["JAX_COMPILATION_CACHE_DIR"] = tempfile.mkdtemp(prefix="jaxgan-tests-xla-")
    atexit.register(shutil.rmtree, os.environ["JAX_COMPILATION_CACHE_DIR"], ignore_errors=True)
os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
os.environ["JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES"] = "0"

# Where Python keeps no bytecode, each launcher would compile the whole library from its source.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

import numpy as np
from hypothesis import settings

from tests.helpers import refusing_nans

# A busy machine is no fault: a deadline of milliseconds for an example would fail on it.
settings.register_profile("no deadline", deadline=None)
settings.load_profile("no deadline")

for name in ("assert_allclose", "assert_array_equal"):
    setattr(np.testing, name, refusing_nans(getattr(np.testing, name)))
