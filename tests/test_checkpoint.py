"""Which checkpoints are kept, and that what comes back is what was saved."""

import jax.numpy as jnp
import numpy as np
import pytest

from jaxgan.checkpoint import Checkpoints

STATE = {"w": jnp.arange(6.0).reshape(2, 3), "n": jnp.int32(4), "empty": None}


def save_all(directory, accuracies):
    with Checkpoints(directory, best_metric="accuracy") as checkpoints:
        for step, accuracy in accuracies.items():
            metrics = {"step": step} | ({} if accuracy is None else {"accuracy": accuracy})
            checkpoints.save(step, {**STATE, "n": jnp.int32(step)}, metrics)
            checkpoints.wait()


@pytest.mark.parametrize(
    ("accuracies", "best"),
    [
        ({1: 0.5, 2: 0.9, 3: 0.7}, 2),
        ({1: 0.5, 2: 0.7, 3: 0.9}, 3),
        ({1: 0.9, 2: 0.9, 3: 0.9}, 1),
        ({1: 0.2, 2: None, 3: None}, 1),
    ],
)
def test_the_newest_and_the_best_are_kept_across_a_restart(tmp_path, accuracies, best):
    save_all(tmp_path / "c", accuracies)
    with Checkpoints(tmp_path / "c", best_metric="accuracy") as checkpoints:
        assert checkpoints.newest_step == 3
        assert checkpoints.best_step == best
        for step in {3, best}:
            assert int(checkpoints.restore(step, STATE)["n"]) == step
    kept = {int(path.name) for path in (tmp_path / "c").iterdir() if path.name.isdigit()}
    assert kept == {3, best}


def test_of_a_distance_the_lowest_is_best(tmp_path):
    with Checkpoints(tmp_path, best_metric="distance", lowest_is_best=True) as checkpoints:
        for step, metrics in enumerate(({}, {"distance": 2.0}, {"distance": -1.0}, {}), start=1):
            checkpoints.save(step, STATE, {"step": step, **metrics})
            checkpoints.wait()
            assert checkpoints.best_step == {1: None, 2: 2, 3: 3, 4: 3}[step]
    assert {path.name for path in tmp_path.iterdir() if path.name.isdigit()} == {"3", "4"}


def test_without_a_metric_only_the_newest_is_kept_and_none_is_best(tmp_path):
    with Checkpoints(tmp_path) as checkpoints:
        assert checkpoints.resume(STATE) == (0, STATE)
        for step in (1, 2):
            checkpoints.save(step, STATE, {"step": step})
        checkpoints.wait()
        assert checkpoints.best_step is None
        assert checkpoints.newest_step == 2
    assert {path.name for path in tmp_path.iterdir() if path.name.isdigit()} == {"2"}


def test_bits_structure_and_types_come_back(tmp_path):
    with Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(7, STATE, {"step": 7})
    with Checkpoints(tmp_path) as checkpoints:
        step, restored = checkpoints.resume(STATE)
    assert step == 7
    assert restored["empty"] is None
    np.testing.assert_array_equal(restored["w"], STATE["w"])
    assert restored["w"].dtype == np.float32
    assert int(restored["n"]) == 4


def test_leaving_the_context_waits_for_the_save(tmp_path):
    """The process may end right after it."""
    with Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(1, {"w": jnp.zeros((512, 1024))}, {"step": 1})
    assert (tmp_path / "1").is_dir()


def test_what_is_saved_is_the_state_of_that_moment(tmp_path):
    array = np.zeros(1000)
    with Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(1, {"w": array}, {"step": 1})
        array += 1.0
        checkpoints.wait()
        assert not checkpoints.restore(1, {"w": array})["w"].any()
