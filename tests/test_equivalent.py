"""Which degradation is as far: curves in closed form, both ends, and what is kept."""

import numpy as np
import pytest

from jaxgan.evaluation import equivalent
from jaxgan.evaluation.equivalent import Curve, describe_equivalent, measure_equivalent
from jaxgan.evaluation.features import Features
from jaxgan.evaluation.real_images import NamedImages, RealImages
from jaxgan.metrics.kernel_distance import METRIC, create_kernel_comparison
from tests.helpers import compute_kernel_distance

RNG = np.random.default_rng(0)
SQUARES = Curve((1.0, 2.0, 4.0), (1.0, 4.0, 16.0))  # the distance is the square of the strength


def score(value, floor=0.0, interval=None):
    return {"value": value, "floor": floor, "interval": interval}


def make_real(other=0):
    """Noisy images of 64 pixels, and another class that is brighter by `other`."""
    images = RNG.normal(100, 20, (40, 64, 64, 1))
    images = images.clip(0, 255).astype(np.uint8)
    sides = [NamedImages("", part) for part in (images[:20], images[20:])]
    others = {"bright": images + np.uint8(other), "brighter": images + np.uint8(2 * other)}
    return RealImages(sides[1], sides[0], sides[1], (images, np.zeros(40)), others if other else {})


def measure_detail(images):
    """Two features: brightness, and detail (what a blur removes and noise adds)."""
    values = images[..., 0].astype(float)
    return np.stack([values.mean((1, 2)) - 100, values.std((1, 2)) - 20], axis=1) / 5


DETAIL = Features("detail", measure_detail)
BRIGHTNESS = Features("brightness", lambda images: measure_detail(images)[:, :1])


@pytest.mark.parametrize(
    ("distance", "expected"),
    [
        (-0.5, ("as", 0.0)),
        (0.0, ("as", 0.0)),
        (0.25, ("as", 0.5)),
        (4.0, ("as", 2.0)),
        (9.0, ("as", 3.0)),
        (16.0, ("as", 4.0)),
        (16.1, ("more", 4.0)),
    ],
)
def test_the_root_of_a_distance_is_interpolated(distance, expected):
    assert SQUARES.find(distance) == (expected[0], pytest.approx(expected[1]))


def test_a_curve_that_falls_by_chance_is_taken_as_level():
    curve = Curve((1.0, 2.0, 3.0, 4.0), (-0.1, 1.0, 0.9, 4.0))
    assert curve.find(0.25) == ("as", pytest.approx(1.5))
    assert curve.find(1.0) == ("as", 2.0)
    assert curve.find(2.25) == ("as", pytest.approx(3.5))


def test_both_ends_are_said():
    place = equivalent._place(SQUARES, score(0.2, floor=0.25, interval=[-1.0, 4.0]))
    assert place == {"relation": "less", "strength": 0.5, "interval": [0.0, 2.0]}
    assert equivalent._place(SQUARES, score(99.0, floor=0.25))["relation"] == "more"
    assert equivalent._place(SQUARES, score(0.3, floor=17.0)) is None  # it does not see this kind


def test_real_images_blurred_are_found_as_blurred():
    real = make_real()
    strength = 5.0  # of 256 pixels: between two strengths of the curve
    made = DETAIL(equivalent._BLUR.apply(real.train.images, strength))
    value = compute_kernel_distance(made, DETAIL(real.held_out.images))
    found = measure_equivalent(score(value), DETAIL, real, cache_dir=None)["degradations"]
    assert found["blur"]["relation"] == "as"
    assert found["blur"]["strength"] == pytest.approx(strength / 4, rel=0.1)  # pixels of 64
    assert found["blur"]["unit"] == "pixels of 64, as the standard deviation"


def test_a_mixture_is_the_root_of_a_share_of_the_nearest_class():
    real = make_real(other=20)
    pool = DETAIL(np.concatenate([real.held_out.images, real.other_classes["bright"]]))
    whole = create_kernel_comparison(pool)(np.arange(20), np.arange(20, 60))[METRIC]
    found = measure_equivalent(score(whole / 4), DETAIL, real, cache_dir=None)
    assert found["degradations"]["class bright"]["strength"] == pytest.approx(0.5, abs=0.03)
    assert "class brighter" not in found["degradations"]
    assert "mixed with 50 % of bright" in found["sentence"]


def test_what_a_ruler_does_not_see_is_named_and_not_said():
    found = measure_equivalent(score(0.5, floor=0.4), BRIGHTNESS, make_real(20), cache_dir=None)
    assert found["not_seen"] == ["blur"]
    assert "blurred" not in found["sentence"] and "bright" in found["sentence"]
    blind = Features("blind", lambda images: np.zeros((len(images), 1)))
    found = measure_equivalent(score(0.5, floor=0.4), blind, make_real(), cache_dir=None)
    assert found["not_seen"] == ["blur", "noise"]
    assert found["sentence"] is None
    assert describe_equivalent(found, "it") is None
    assert measure_equivalent(score(0.5, floor=None), DETAIL, make_real(), cache_dir=None) is None


def describe(blur, noise, of_class):
    places = zip(("blur", "noise", "class a"), (blur, noise, of_class), strict=True)
    seen = {name: dict(zip(("relation", "strength"), place, strict=True)) for name, place in places}
    return describe_equivalent({"sentence": equivalent._describe(seen, 64)}, "a ruler")


def test_the_sentence_says_the_units():
    assert describe(("as", 1.49), ("more", 64.0), ("as", 0.4)) == (
        "In a ruler they are as far from real images as real images blurred by 1.5 pixels (of 64), "
        "with noise of more than 64.0 gray levels (of 255), or mixed with 40 % of a."
    )
    assert describe(("as", 1.49), ("as", 5.0), ("more", 1.0)) == (
        "In a ruler they are as far from real images as real images blurred by 1.5 pixels (of 64), "
        "or with noise of 5.0 gray levels (of 255), and farther than real images of a."
    )
    assert describe(("less", 0.3), ("less", 1.0), ("less", 0.8)) == (
        "In a ruler they are no farther from real images than chance allows, which hides a blur of "
        "up to 0.3 pixels (of 64), noise of up to 1.0 gray levels (of 255), or a mixture with up "
        "to 80 % of a too."
    )
    only = {"class a": {"relation": "more", "strength": 1.0}}
    assert equivalent._describe(only, 64) == "farther than real images of a"


def test_curves_are_measured_once_for_images_and_ruler(tmp_path, monkeypatch):
    real = make_real(other=20)
    first = measure_equivalent(score(0.5), DETAIL, real, cache_dir=tmp_path)
    measure = equivalent.measure_curves
    monkeypatch.setattr(equivalent, "measure_curves", None)
    assert measure_equivalent(score(0.5), DETAIL, real, cache_dir=tmp_path) == first
    (file,) = (tmp_path / "curves").glob("*.npz")
    monkeypatch.setattr(equivalent, "measure_curves", measure)
    for other in (make_real(other=20), make_real()):
        measure_equivalent(score(0.5), DETAIL, other, cache_dir=tmp_path)
    scaled = Features("detail", lambda images: 2 * measure_detail(images))
    measure_equivalent(score(0.5), scaled, real, cache_dir=tmp_path)
    assert len(list((tmp_path / "curves").glob("*.npz"))) == 4
    file.write_bytes(file.read_bytes()[:50])
    assert measure_equivalent(score(0.5), DETAIL, real, cache_dir=tmp_path) == first
