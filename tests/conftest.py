"""Two virtual CPU devices for every test, asked for before JAX wakes up."""

import os

import pytest

from tests.xla_flags import FAST_COMPILATION

os.environ["XLA_FLAGS"] = (
    os.environ.get("XLA_FLAGS", "")
    + f" --xla_force_host_platform_device_count=2 {FAST_COMPILATION}"
)

import jax
import numpy as np

from tests.helpers import refusing_nans

for name in ("assert_allclose", "assert_array_equal"):
    setattr(np.testing, name, refusing_nans(getattr(np.testing, name)))


@pytest.fixture(scope="session", autouse=True)
def _share_compilations(tmp_path_factory):
    """Compile a program that several tests run only once; in the user's cache, where one is set."""
    if not os.environ.get("JAX_COMPILATION_CACHE_DIR"):
        jax.config.update("jax_compilation_cache_dir", str(tmp_path_factory.mktemp("xla")))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", 0)
