"""The verdict of an evaluation: the rules on planted measures, and on planted images."""

import numpy as np
import pytest
from scipy import ndimage

from jaxgan.evaluation import evaluate, subjects
from jaxgan.evaluation.verdict import find_verdict
from tests.helpers import draw_films
from tests.test_evaluate import write_folder

GOOD = {
    "kernel_distance": {"value": 0.001, "floor": 0.01},
    "sliced_wasserstein": {"value": 90.0, "floor": 100.0},
    "recall": {"value": 0.8, "floor": 0.7},
    "coverage": {"value": 0.9, "floor": 0.8},
    "memorisation": {"value": 0.1, "floor": 0.3, "flag": False},
}


def measure(**changes):
    return {name: {**found, **changes.get(name, {})} for name, found in GOOD.items()}


@pytest.mark.parametrize(
    ("changes", "word", "part"),
    [
        ({}, "good", "look like real ones (kernel distance 0.001"),
        ({"memorisation": {"flag": True, "value": 0.9}}, "copies", "memorisation 0.90"),
        ({"recall": {"value": 0.01}}, "do not use", "look like real ones"),
        ({"recall": {"value": 0.01}}, "do not use", "but hardly vary (recall 0.01"),
        ({"coverage": {"value": 0.4}}, "use with care", "vary less (coverage 0.40"),
        ({"kernel_distance": {"value": 0.031}}, "do not use", "do not look like real ones"),
        ({"kernel_distance": {"value": 0.029}}, "use with care", "differ a little"),
        ({"sliced_wasserstein": {"value": 201.0}}, "do not use", "texture 201"),
        ({"sliced_wasserstein": {"value": 199.0}}, "use with care", "texture 199"),
        ({"recall": {"value": 0.8, "floor": None}}, "unknown", "too few real images"),
    ],
)
def test_each_rule(changes, word, part):
    verdict = find_verdict(measure(**changes))
    assert verdict.word == word
    assert part in verdict.finding
    assert str(verdict).count(". ") == 1  # two sentences


@pytest.mark.parametrize(
    ("outside", "changes", "word", "part"),
    [
        (0.014, {}, "good", "look like real ones (kernel distance 0.001"),
        (0.016, {}, "use with care", "differ from real ones in the outside ruler (kernel distance"),
        (
            9.0,
            {},
            "use with care",
            "(kernel distance 9 where real images stay below 0.01) but vary",
        ),
        (9.0, {"kernel_distance": {"value": 0.029}}, "use with care", "in the outside ruler"),
        (9.0, {"kernel_distance": {"value": 0.031}}, "do not use", "do not look like real ones"),
        (9.0, {"recall": {"value": 0.01}}, "do not use", "outside ruler"),
    ],
)
def test_nothing_is_good_by_the_encoder_alone_where_the_outside_ruler_disagrees(
    outside, changes, word, part
):
    block = {"kernel_distance": {"value": outside, "floor": 0.01}}
    verdict = find_verdict({**measure(**changes), "outside": block})
    assert verdict.word == word
    assert part in verdict.finding


def test_the_outside_ruler_in_the_place_of_the_encoder_is_rated_once():
    """Its block then has memorisation alone."""
    assert find_verdict({**measure(), "outside": {"memorisation": {}}}).word == "good"


def test_without_held_out_images_copies_are_not_looked_for():
    assert find_verdict({**measure(), "memorisation": None}).word == "good"


def spoil(how, train, fresh):
    if how == "blurred":
        return ndimage.gaussian_filter(fresh, (0, 2, 2, 0))
    if how == "collapsed":
        noise = np.random.default_rng(0).normal(0, 2, fresh.shape)
        return np.clip(fresh[:1] + noise, 0, 255).astype(np.uint8)
    return train.copy() if how == "copied" else fresh


@pytest.mark.slow
@pytest.mark.parametrize(
    ("how", "word"),
    [
        ("blurred", "do not use"),
        ("collapsed", "do not use"),
        ("copied", "copies"),
        ("good", "good"),
    ],
)
def test_planted_images(how, word, tmp_path):
    """Films of the phantom, and what may be wrong with them."""
    train, held_out, fresh = (draw_films("normal", 60, first) for first in (0, 200, 400))
    images = {"train": train, "held_out": held_out, "generated": spoil(how, train, fresh)}
    for name, of_kind in images.items():
        write_folder(tmp_path / name, of_kind)
    folders = (tmp_path / name for name in ("generated", "train", "held_out"))
    found = evaluate.evaluate(subjects.load_folders(*folders), out=tmp_path / "out")
    assert found.metrics["verdict"]["word"] == word, found.metrics["verdict"]
