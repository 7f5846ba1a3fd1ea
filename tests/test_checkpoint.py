"""Which checkpoints are kept, and that what comes back is what was saved."""

import contextlib
import shutil
import time

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from orbax.checkpoint._src.metadata import checkpoint as metadata

from jaxgan.core.errors import DiskError, UserError
from jaxgan.training.checkpoint import Checkpoints
from tests.helpers import can_mount, mount_small_disk

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
    assert kept == {2, 3, best}


def test_of_a_distance_the_lowest_is_best(tmp_path):
    with Checkpoints(tmp_path, best_metric="distance", lowest_is_best=True) as checkpoints:
        for step, metrics in enumerate(({}, {"distance": 2.0}, {"distance": -1.0}, {}), start=1):
            checkpoints.save(step, STATE, {"step": step, **metrics})
            checkpoints.wait()
            assert checkpoints.best_step == {1: None, 2: 2, 3: 3, 4: 3}[step]
    assert {path.name for path in tmp_path.iterdir() if path.name.isdigit()} == {"3", "4"}


def test_without_a_metric_the_newest_two_are_kept_and_none_is_best(tmp_path):
    with Checkpoints(tmp_path) as checkpoints:
        assert checkpoints.resume(lambda: STATE) == (0, STATE)
        for step in (1, 2, 3):
            checkpoints.save(step, STATE, {"step": step})
        checkpoints.wait()
        assert checkpoints.best_step is None
        assert checkpoints.newest_step == 3
    assert {path.name for path in tmp_path.iterdir() if path.name.isdigit()} == {"2", "3"}


def describe():
    assert isinstance(jnp.zeros(1), jax.core.Tracer), "a state was drawn though there is one"
    return STATE


def test_bits_structure_and_types_come_back(tmp_path):
    with Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(7, STATE, {"step": 7})
    with Checkpoints(tmp_path) as checkpoints:
        step, restored = checkpoints.resume(describe)
    assert step == 7
    assert restored["empty"] is None
    np.testing.assert_array_equal(restored["w"], STATE["w"])
    assert restored["w"].dtype == np.float32
    assert int(restored["n"]) == 4


def test_a_state_may_have_got_parts_without_arrays_since_it_was_saved(tmp_path):
    later = {**STATE, "statistics": {}, "empty": ()}
    with Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(4, STATE, {})
    with Checkpoints(tmp_path) as checkpoints:
        restored = checkpoints.restore(4, jax.eval_shape(lambda: later))
    assert restored["statistics"] == {} and restored["empty"] == ()
    np.testing.assert_array_equal(restored["w"], STATE["w"])
    assert restored["w"].dtype == np.float32


def test_leaving_the_context_waits_for_the_save(tmp_path):
    """The process may end right after it."""
    with Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(1, {"w": jnp.zeros((512, 1024))}, {"step": 1})
    assert (tmp_path / "1").is_dir()


def test_a_checkpoint_is_whole_however_late_its_record_is_written(tmp_path, monkeypatch, capsys):
    """Orbax writes it in a thread of its own; under load that was behind the digests' at times."""
    monkeypatch.setattr(
        metadata._MetadataStoreImpl, "write", late(metadata._MetadataStoreImpl.write)
    )
    save_all(tmp_path / "c", {1: 0.1, 2: 0.9})
    monkeypatch.undo()
    with Checkpoints(tmp_path / "c", best_metric="accuracy", record=RECORD) as checkpoints:
        assert (checkpoints.newest_step, checkpoints.best_step) == (2, 2)
        checkpoints.restore(2, STATE)
    assert capsys.readouterr().out == ""


def late(write):
    def write_late(*args):
        time.sleep(0.3)
        write(*args)

    return write_late


def test_what_is_saved_is_the_state_of_that_moment(tmp_path):
    array = np.zeros(1000)
    with Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(1, {"w": array}, {"step": 1})
        array += 1.0
        checkpoints.wait()
        assert not checkpoints.restore(1, {"w": array})["w"].any()


@pytest.fixture
def small_disk(tmp_path):
    with mount_small_disk(tmp_path / "disk", kibibytes=1500) as path:
        yield path


RECORD = {"kind": "toy", "settings": {"seed": 0, "num_epochs": 2}}


def list_files(checkpoint):
    """All but an empty mark of orbax's that nothing reads."""
    files = [path for path in checkpoint.rglob("*") if path.is_file()]
    found = sorted(f.relative_to(checkpoint) for f in files if f.name != "commit_success.txt")
    assert found  # or what goes through them would damage nothing
    return found


@pytest.fixture(scope="module")
def three(tmp_path_factory):
    """Checkpoints of steps 1, 2 (the best) and 3."""
    path = tmp_path_factory.mktemp("three") / "checkpoints"
    save_all(path, {1: 0.1, 2: 0.9, 3: 0.7})
    return path


@pytest.mark.parametrize("how", ["flipped", "truncated", "emptied", "removed"])
def test_a_damaged_checkpoint_gives_way_to_the_one_before(three, tmp_path, capfd, how):
    """Whatever happens to any one file of the newest."""
    for number, name in enumerate(list_files(three / "3")):
        copy = tmp_path / str(number)
        shutil.copytree(three, copy)
        damage(copy / "3" / name, how)
        with Checkpoints(copy, best_metric="accuracy", record=RECORD) as checkpoints:
            step, state = checkpoints.resume(lambda: STATE)
            assert checkpoints.best_step == 2
        assert (step, int(state["n"])) == (2, 2)
        output = capfd.readouterr()
        assert "step 3 in" in output.out
        assert "the run continues from the previous one, of step 2." in output.out
        assert "Traceback" not in output.err
        assert (copy / "3.damaged").is_dir()


def test_sampling_from_a_damaged_checkpoint_is_refused(three, tmp_path):
    told = "step 3 in .* is damaged: start the training's own command again; it continues"
    shutil.copytree(three, tmp_path / "copy")
    damage(tmp_path / "copy" / "3" / "default" / "manifest.ocdbt", "flipped")
    with Checkpoints(tmp_path / "copy") as checkpoints:
        with pytest.raises(UserError, match=told):
            checkpoints.restore(3, STATE)
        assert int(checkpoints.restore(2, STATE)["n"]) == 2
    damage(tmp_path / "copy" / "3" / "_CHECKPOINT_METADATA", "truncated")
    with (
        pytest.raises(UserError, match=told),
        Checkpoints(tmp_path / "copy", best_metric="accuracy") as checkpoints,
    ):
        checkpoints.restore(3, STATE)


def damage(file, how):
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 4
    if how == "removed":
        file.unlink()
    else:
        changed = {"flipped": content, "truncated": content[: len(content) // 2], "emptied": b""}
        file.write_bytes(changed[how])


def test_what_was_set_aside_is_trained_and_saved_anew(three, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(three, copy)
    damage(copy / "3" / list_files(three / "3")[0], "flipped")
    with Checkpoints(copy, record=RECORD) as checkpoints:
        checkpoints.save(3, {**STATE, "n": jnp.int32(30)}, {})
    with Checkpoints(copy, record=RECORD) as checkpoints:
        step, state = checkpoints.resume(lambda: STATE)
    assert (step, int(state["n"])) == (3, 30)
    damage(copy / "3" / list_files(three / "3")[0], "flipped")  # a second time
    with Checkpoints(copy, record=RECORD) as checkpoints:
        assert checkpoints.resume(lambda: STATE)[0] == 2


def test_where_no_checkpoint_is_whole_the_user_has_to_choose(three, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(three, copy)
    for step in (2, 3):
        damage(copy / str(step) / "_CHECKPOINT_METADATA", "flipped")
    with pytest.raises(UserError, match=r"Every checkpoint .* is damaged \(steps 2, 3\)"):
        Checkpoints(copy, record=RECORD)


@pytest.mark.parametrize("how", ["removed", "emptied"])
def test_of_a_damaged_best_one_it_is_said_whatever_is_missing(three, tmp_path, capsys, how):
    """It looks as if a kill had come while it was removed."""
    for number, name in enumerate(list_files(three / "2")):
        copy = tmp_path / str(number)
        shutil.copytree(three, copy)
        damage(copy / "2" / name, how)
        with Checkpoints(copy, best_metric="accuracy", record=RECORD) as checkpoints:
            assert (checkpoints.newest_step, checkpoints.best_step) == (3, 3)
        output = capsys.readouterr().out
        assert "The checkpoint of step 2 in" in output, name
        assert "the best of the others takes its place" in output
        assert (copy / "2.damaged").is_dir()


def test_an_old_checkpoint_that_was_being_removed_is_no_damage(tmp_path, capsys, monkeypatch):
    """It was moved away at one stroke before: a kill leaves nothing half removed in its place."""
    monkeypatch.setattr(shutil, "rmtree", lambda path, ignore_errors: None)  # killed before
    save_all(tmp_path / "c", {1: 0.1, 2: 0.9, 3: 0.7})
    monkeypatch.undo()
    assert (tmp_path / "c" / "rejected" / "1" / "sha256.json").exists()
    next((tmp_path / "c" / "rejected" / "1" / "default").iterdir()).unlink()
    with Checkpoints(tmp_path / "c", best_metric="accuracy", record=RECORD) as checkpoints:
        assert (checkpoints.newest_step, checkpoints.best_step) == (3, 2)
    assert capsys.readouterr().out == ""
    assert {path.name for path in (tmp_path / "c").iterdir()} == {"2", "3"}


def test_a_rejected_checkpoint_is_gone_when_the_run_has_ended(three):
    assert {path.name for path in three.iterdir()} == {"2", "3"}


def test_checkpoints_from_before_digests_pass(three, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(three, copy)
    digests = list(copy.glob("*/sha256.json"))
    assert len(digests) == 2
    for file in digests:
        file.unlink()
    with Checkpoints(copy, record=RECORD) as checkpoints:
        assert checkpoints.resume(lambda: STATE)[0] == 3


# tensorstore's other reads end after the one that failed has closed their event loop.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("how", ["flipped", "truncated", "emptied", "removed"])
def test_a_damaged_one_from_before_digests_has_its_sentence(three, tmp_path, how):
    for number, name in enumerate(list_files(three / "3")):
        if name.name == "sha256.json":
            continue
        copy = tmp_path / str(number)
        shutil.copytree(three / "3", copy / "3")
        (copy / "3" / "sha256.json").unlink()
        damage(copy / "3" / name, how)
        try:
            with Checkpoints(copy, record=RECORD) as checkpoints:
                step, state = checkpoints.resume(lambda: STATE)
        except UserError as error:
            assert "step 3 in" in str(error)
            assert "is damaged: remove its folder, then start the training's own" in str(error)
        else:
            assert (step, int(state["n"])) == (3, 3)  # nothing needs that file, or that byte


def test_a_checkpoint_of_another_model_is_refused_with_both_named(three):
    other = {**STATE, "w": jnp.zeros((4, 3))}
    with Checkpoints(three) as checkpoints, pytest.raises(UserError) as caught:
        checkpoints.resume(lambda: other)
    assert "'w'] is float32 [2, 3] there and float32 [4, 3] in this run (1 arrays" in str(
        caught.value
    )


def test_a_checkpoint_of_another_run_is_refused_with_both_named(tmp_path):
    with Checkpoints(tmp_path, record=RECORD) as checkpoints:
        checkpoints.save(1, STATE, {})
    other = {"kind": "toy", "settings": {"seed": 7, "num_epochs": 2}}
    with Checkpoints(tmp_path, record=other) as checkpoints, pytest.raises(UserError) as caught:
        checkpoints.resume(lambda: STATE)
    assert "settings.seed was 0 and is 7" in str(caught.value)
    longer = {"kind": "toy", "settings": {"seed": 0, "num_epochs": 4}}
    with Checkpoints(tmp_path, record=longer) as checkpoints:
        assert checkpoints.resume(lambda: STATE)[0] == 1


def test_a_checkpoint_that_no_epoch_asked_for_is_never_the_best(tmp_path):
    """Otherwise the moment of a signal would decide which one is."""
    with Checkpoints(tmp_path, best_metric="accuracy", record=RECORD) as checkpoints:
        for step, metrics in ((1, {"accuracy": 0.5}), (2, {}), (3, {"accuracy": 0.4}), (4, {})):
            checkpoints.save(step, STATE, metrics)
            checkpoints.wait()
        assert checkpoints.best_step == 1


@pytest.mark.skipif(not can_mount(), reason="needs the right to mount a small file system")
def test_a_full_disk_is_told_and_the_last_checkpoint_stays(small_disk):
    numbers = np.random.default_rng(0).normal(size=60_000)
    state = {"w": numbers.astype(np.float32)}
    with pytest.raises(DiskError, match="No space left on device") as caught:
        for step in range(1, 99):
            with Checkpoints(small_disk / "c", record=RECORD) as checkpoints:
                checkpoints.save(step, state, {})
            with contextlib.suppress(OSError):
                (small_disk / f"filling{step}").write_bytes(bytes(100_000))
    assert "Free some space" in str(caught.value)
    for path in small_disk.glob("filling*"):
        path.unlink()
    with Checkpoints(small_disk / "c", record=RECORD) as checkpoints:
        step, restored = checkpoints.resume(lambda: state)
    assert step >= 1
    np.testing.assert_array_equal(restored["w"], state["w"])


@pytest.mark.parametrize("num_others", [0, 1])
def test_a_checkpoint_that_a_training_has_replaced_is_gone_and_not_damaged(tmp_path, num_others):
    """Whoever reads a run has found it, and the training that goes on has saved newer ones."""
    state = {"w": np.zeros(2)}
    with Checkpoints(tmp_path / "c") as checkpoints:
        for step in range(1, 2 + num_others):
            checkpoints.save(step, state, {})
    with Checkpoints(tmp_path / "c", read_only=True) as checkpoints:
        step = checkpoints.newest_step
        shutil.rmtree(tmp_path / "c" / str(step))
        with pytest.raises(UserError, match=rf"step {step} in .* is no longer there: .*again\.$"):
            checkpoints.restore(step, state)
