"""What a run measures of itself, and what it makes of that."""

import jax
import numpy as np
import pytest

from jaxgan.evaluation import quality
from jaxgan.evaluation.quality import (
    FIRST_SEED,
    NUM_IMAGES,
    QualityMeter,
    compute_class_share,
    compute_label_effect,
    describe_ignored_label,
    summarise,
)
from jaxgan.training.keys import create_keys
from tests.helpers import (
    create_state,
    get_networks,
    make_dcgan_settings,
    make_image_set,
    make_sampler,
)

SETTINGS = make_dcgan_settings()


@pytest.fixture(scope="module")
def meter():
    return QualityMeter(make_image_set(40).of_class(0).images)


@pytest.fixture(scope="module")
def networks():
    return get_networks(SETTINGS, create_state(SETTINGS, create_keys(0).init))


def draw(networks):
    """What a training measures."""
    return make_sampler(SETTINGS).draw(networks, FIRST_SEED, NUM_IMAGES)


def test_an_untrained_generator_is_far_and_measured_alike_every_time(meter, networks):
    first = meter.measure(draw(networks))
    assert first == meter.measure(draw(networks))
    assert first["kernel_distance"] > 10 * meter.compute_floor() > 0
    assert first["variance_ratio"] > 0


def test_nothing_is_fitted_before_something_is_measured(monkeypatch):
    def fit(images):
        raise RuntimeError("fitted")

    monkeypatch.setattr(quality, "fit_pyramid_features", fit)
    meter = QualityMeter(make_image_set(40).images)
    with pytest.raises(RuntimeError, match="fitted"):
        meter.compute_floor()


def test_a_generator_of_one_image_varies_nothing(meter, networks):
    silent = jax.tree.map(np.zeros_like, networks)
    measured = meter.measure(draw(silent))
    assert measured["variance_ratio"] < 1e-6
    report = summarise([{"epoch": 1, **measured}], floor=0.1, selected_epoch=1)
    assert "vary 0.0% as much" in report["collapse"]


def test_few_images_repeated_are_told_and_real_ones_are_not(meter):
    """Three real images, repeated, vary about as much as all of them do."""
    real = make_image_set(40).of_class(0).images  # what the meter knows, and others like them
    others = make_image_set(600, seed=1).of_class(0).images[:256]
    rng = np.random.default_rng(0)
    repeated = real[rng.integers(0, 3, 256)]
    noisy = np.clip(repeated + rng.normal(0.0, 2.0, repeated.shape), 0, 255).astype(np.uint8)
    for images, told in ((repeated, True), (noisy, True), (others, False), (real, False)):
        measured = meter.measure(images)
        assert measured["variance_ratio"] > 0.5
        report = summarise([{"epoch": 7, **measured}], floor=1e9, selected_epoch=7)
        assert ("few different images: at epoch 7" in str(report["collapse"])) == told
        assert report["last"]["neighbour_ratio"] == measured["neighbour_ratio"]
    for name in ("neighbour_ratio", "variance_ratio"):
        assert meter.measure(real)[name] == pytest.approx(1.0)


def test_the_distance_to_the_nearest_other_is_compared_at_equal_numbers(meter):
    """Among more images the nearest is nearer: the meter's 20 are no measure for 256."""
    others = make_image_set(600, seed=1).of_class(0).images[:256]
    of_all = meter.measure(others)["neighbour_ratio"]
    assert of_all == meter.measure(others[:20])["neighbour_ratio"]
    assert meter.measure(others[:5])["neighbour_ratio"] == pytest.approx(1.0, abs=0.2)


def test_neighbours_are_as_far_as_their_features_say():
    features = np.array([[0.0, 0.0], [3.0, 4.0], [3.0, 5.0], [3.0, 6.0]])
    assert quality._average_nearest(features) == pytest.approx((5.0 + 1.0 + 1.0 + 1.0) / 4)


def test_a_run_of_before_has_no_distance_to_neighbours():
    report = summarise(make_records({1: 1.0}), floor=0.1, selected_epoch=1)
    assert report["last"] == {"epoch": 1, "kernel_distance": 1.0, "variance_ratio": 1.0}
    assert report["collapse"] is None


def make_records(distances, ratio=1.0):
    return [
        {"epoch": epoch, "kernel_distance": distance, "variance_ratio": ratio}
        for epoch, distance in distances.items()
    ]


@pytest.mark.parametrize(
    ("distances", "collapsed"),
    [
        ({1: 9.0, 2: 1.0, 3: 2.3}, True),
        ({1: 9.0, 2: 1.0, 3: 1.9}, False),  # not twice as far
        ({1: 9.0, 2: 0.1, 3: 0.25}, False),  # within chance
        ({1: 9.0, 2: -0.1, 3: 0.25}, True),
        ({1: 9.0, 2: 3.0, 3: 1.0}, False),
    ],
)
def test_a_run_that_ends_far_from_its_best_has_collapsed(distances, collapsed):
    report = summarise(make_records(distances), floor=0.2, selected_epoch=2)
    assert report["best"]["kernel_distance"] == min(distances.values())
    assert report["last"]["epoch"] == 3
    assert (report["collapse"] is not None) == collapsed


def test_a_run_that_was_not_measured_has_no_report():
    assert summarise([{"epoch": 1, "loss_d": 1.0}], floor=0.1, selected_epoch=1) is None


def test_a_generator_that_ignores_its_label_is_told_from_one_that_does_not():
    rng = np.random.default_rng(0)
    images = rng.integers(0, 200, (30, 32, 32, 1), dtype=np.uint8)
    brighter = images + 40
    assert compute_label_effect([images, images]) == 0.0
    effect = compute_label_effect([images, brighter])
    # 20 grays either way, against uniform noise of 200 averaged over the 2x2 pixels of a feature.
    assert effect == pytest.approx(20**2 / (20**2 + 200**2 / 12 / 4), abs=0.02)
    labels = np.repeat([0, 1], 30)
    share = compute_class_share(np.concatenate([images, brighter]), labels)
    assert share == pytest.approx(effect, abs=0.05)
    assert compute_class_share(images, labels[::2]) < 0.02
    assert "ignores the class: the class explains 0.00% of the variance" in str(
        describe_ignored_label(0.0, share)
    )
    assert describe_ignored_label(effect, share) is None
    assert describe_ignored_label(0.0, 0.0) is None  # the real classes are alike


@pytest.mark.parametrize(
    ("distance", "variance", "part"),
    [
        (0.1, 0.9, "0.5 times as far"),
        (0.1, 0.9, "with held-out images"),
        (0.31, 0.9, "only in a study"),
        (0.1, 0.7, "only in a study"),
        (0.61, 0.9, "Do not train"),
        (0.1, 0.2, "vary 20% as much. Do not train"),
        (-0.1, 0.9, "0.0 times as far"),
    ],
)
def test_a_run_ends_with_two_sentences_by_its_best_moment(distance, variance, part):
    best = {quality.METRIC: distance, "variance_ratio": variance}
    verdict = quality.describe_verdict({"floor": 0.2, "best": best})
    assert part in verdict
    assert verdict.count(". ") == 1
