"""Two virtual CPU devices for every test, asked for before JAX wakes up.

Most of the suite's time is XLA compiling tiny programs, which it does faster where it optimises
less (so do the launchers that tests start, see `helpers.make_environment`).
"""

import os

import pytest

os.environ["XLA_FLAGS"] = (
    os.environ.get("XLA_FLAGS", "")
    + " --xla_force_host_platform_device_count=2 --xla_backend_optimization_level=0"
)

import jax


@pytest.fixture(scope="session", autouse=True)
def _share_compilations(tmp_path_factory):
    """Compile a program that several tests run only once."""
    jax.config.update("jax_compilation_cache_dir", str(tmp_path_factory.mktemp("xla")))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", 0)
