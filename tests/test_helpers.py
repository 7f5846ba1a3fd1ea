"""The tests' own tools: a check that can not fail would let everything pass."""

import subprocess
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgan.classifiers.gmd import GmdSettings
from jaxgan.data.folder import scan_folder
from jaxgan.gans.dcgan import DcganSettings
from jaxgan.training.keys import create_keys
from tests import helpers, kills, mutants
from tests.helpers import compute_difference, refusing_nans

TREE: dict[str, Any] = {"a": np.array([[0.0, 1.0], [2.0, 3.0]], np.float32), "b": np.int32(4)}


def change(**leaves):
    return {**TREE, **leaves}


def test_the_largest_difference_is_found_in_any_leaf():
    assert compute_difference(TREE, TREE) == 0.0
    assert compute_difference(TREE, jax.tree.map(jnp.asarray, TREE)) == 0.0
    assert compute_difference(TREE, change(b=np.int32(9))) == 5.0
    assert compute_difference(change(a=TREE["a"] - 2), change(b=np.int32(3))) == 2.0
    assert compute_difference({"a": np.zeros((0, 2))}, {"a": np.zeros((0, 2))}) == 0.0


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("sides", [(0,), (1,), (0, 1)])
def test_what_is_not_finite_is_no_equal(value, sides):
    trees = [{"a": np.zeros(2), "b": np.zeros(2)} for _ in range(2)]
    for side in sides:
        trees[side]["b"] = np.array([0.0, value])
    with pytest.raises(AssertionError, match="not finite"):
        compute_difference(*trees)


@pytest.mark.parametrize(
    "other",
    [
        change(c=np.float32(0)),  # one more
        {"a": TREE["a"]},
        {"a": TREE["a"], "c": TREE["b"]},  # another name
        change(a=TREE["a"][:1]),  # broadcasts
        change(a=TREE["a"].astype(np.float64)),
        change(b=np.float32(4)),
        (TREE["a"], TREE["b"]),
        change(b=None),
    ],
)
def test_what_is_not_alike_has_no_difference(other):
    for pair in ((TREE, other), (other, TREE)):
        with pytest.raises(AssertionError):
            compute_difference(*pair)


def test_nothing_is_not_the_same_as_nothing():
    with pytest.raises(AssertionError, match="nothing to compare"):
        compute_difference({}, {})


@pytest.mark.parametrize("name", ["assert_allclose", "assert_array_equal"])
def test_arrays_with_nan_are_not_equal(name):
    check = refusing_nans(lambda actual, desired: None)
    nans, numbers = np.array([0.0, np.nan]), np.zeros(2)
    for pair in ((nans, nans), (nans, numbers), (numbers, nans), (numbers, jnp.array(nans))):
        with pytest.raises(AssertionError, match="NaN is compared"):
            check(*pair)
        with pytest.raises(AssertionError, match="NaN is compared"):  # as in all of the tests
            getattr(np.testing, name)(*pair)
    check(numbers, numbers)
    check(np.array(["a"]), np.array(["a"]))
    getattr(np.testing, name)(np.array([np.inf]), np.array([np.inf]))
    with pytest.raises(AssertionError, match="ot equal"):
        getattr(np.testing, name)(numbers, numbers + 1)
    seen = []
    refusing_nans(lambda *args, **kwargs: seen.append((args, kwargs)))(1, 2, 3, x=4)
    assert seen == [((1, 2, 3), {"x": 4})]


def test_two_kinds_of_images_are_told_apart_by_the_bright_half():
    images = helpers.make_image_set(6, size=8, channels=3, seed=1)
    assert images.images.shape == (6, 8, 8, 3) and images.labels.tolist() == [0, 1, 0, 1, 0, 1]
    halves = images.images.reshape(6, 2, -1).mean(axis=2)
    assert (halves.argmax(axis=1) == images.labels).all()
    assert len(set(images.files)) == 6
    other = helpers.make_image_set(6, size=8, channels=3, seed=2)
    assert (images.images != other.images).any()


def test_settings_are_changed_as_asked():
    dcgan = helpers.make_dcgan_settings(num_epochs=7, selection={"rule": "none"})
    gmd = helpers.make_gmd_settings(width=16, optimizer="adam", num_epochs=5)
    assert isinstance(dcgan.gan, DcganSettings) and isinstance(gmd.classifier, GmdSettings)
    assert (dcgan.num_epochs, dcgan.selection.rule) == (7, "none")
    changed = helpers.replace(dcgan, num_epochs=8, generator_width=6)
    assert (changed.num_epochs, changed.gan.generator_width) == (8, 6)
    assert helpers.replace(gmd, width=24).classifier.width == 24
    assert (gmd.classifier.width, gmd.optimizer.name, gmd.num_epochs) == (16, "adam", 5)


def test_the_newest_state_of_a_run_is_restored_whole(tmp_path):
    run = helpers.write_run(tmp_path, measured={2: 1.0, 5: 2.0})
    step, state = helpers.restore_newest(run)
    first = helpers.create_state(helpers.make_dcgan_settings(), create_keys(0).init)
    assert step == 5
    assert compute_difference(state, jax.tree.map(lambda leaf: leaf * 2, first)) == 0.0
    assert "opt_state" in vars(state.generator)
    with pytest.raises(AssertionError, match="no checkpoint"):
        helpers.restore_newest(helpers.write_run(tmp_path, "right", measured={}))


def test_data_sets_and_folders_hold_what_they_say(tmp_path):
    dataset = helpers.make_dataset(16, num_train=8, num_val=5)
    assert (len(dataset.train), len(dataset.val)) == (8, 5)
    assert (dataset.train.images[:5] != dataset.val.images).any()
    helpers.write_split_folder(tmp_path, num_train=24, num_val=4)
    scan = scan_folder(tmp_path)
    assert scan.class_names == dataset.class_names and len(scan.images) == 28
    films = helpers.draw_films("normal", 3, first_patient=1)
    assert films.shape == (3, 32, 32, 1) and len({film.tobytes() for film in films}) == 3
    assert (helpers.draw_films("normal", 1, first_patient=2)[0] == films[1]).all()


def test_launchers_see_one_real_device():
    environment = helpers.make_environment()
    assert environment["JAX_PLATFORMS"] == "cpu"
    assert "device_count" not in environment["XLA_FLAGS"] and "PATH" in environment


def test_a_small_disk_is_small(tmp_path):
    assert helpers.can_mount() in (True, False) and isinstance(helpers.can_mount(), bool)
    if not helpers.can_mount():
        pytest.skip("needs the right to mount a small file system")
    with helpers.mount_small_disk(tmp_path / "disk", kibibytes=100) as disk:
        with pytest.raises(OSError, match="No space left"):
            (disk / "file").write_bytes(bytes(200 * 1024))
        found = subprocess.run(["stat", "-f", "-c%T", disk], capture_output=True, check=True)
        assert found.stdout == b"tmpfs\n"


# How runs are compared ---------------------------------------------------------------------------


def test_runs_differ_where_one_lacks_what_the_other_has():
    assert kills.compare({"a": 1, "b": 2}, {"a": 1, "b": 2}) == []
    assert kills.compare({"a": 1}, {"a": 1, "b": 2}) == ["b"]
    assert kills.compare({"a": 1, "c": 3}, {"a": 2}) == ["a", "c"]
    with pytest.raises(AssertionError, match="nothing to compare"):
        kills.compare({}, {})


# What breaks a module to see whether its tests notice --------------------------------------------

HELPERS = '''
"""Words."""
LIMIT = 3


def make(num):
    return [0] * num


def check(a, b):
    assert a == b
    assert a < 5
    return abs(a - b)
'''


def test_helpers_are_broken_in_every_way_that_lets_tests_pass():
    found = mutants.list_helper_mutants(HELPERS)
    names = [what for what, _ in found]
    assert names[:2] == ["make returns 0", "check returns 0"]
    sources = [source for _, source in found]
    assert all("LIMIT = 3" in source for source in sources)
    assert sum("assert True" in source for source in sources) == 2
    assert any("assert a != b" in source for source in sources)
    assert any("assert a <= 5" in source for source in sources)
    assert any("abs(a + b)" in source for source in sources)
    assert not any("[0] / num" in source for source in sources)  # it checks nothing
    for source in sources:
        compile(source, "mutant", "exec")


def test_every_module_that_is_broken_has_its_tests():
    for module in mutants.MODULES:
        assert mutants.find_source(module).is_file(), module
        assert (mutants.ROOT / "tests" / f"test_{module.split('/')[-1]}.py").is_file(), module
    assert "tests/helpers" in mutants.MODULES
