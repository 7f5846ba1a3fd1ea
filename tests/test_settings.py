"""Reading a config: every wrong field has its sentence."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal, get_args

import pytest

from configs import dcgan, gmd
from jaxgan.core.errors import UserError
from jaxgan.core.settings import check, read_settings, to_dict
from jaxgan.experiments.train_classifier import TrainClassifierSettings
from jaxgan.gans import families
from jaxgan.sampling.settings import TrainGanSettings
from tests.helpers import load_family_configs, make_dcgan_settings, make_gmd_settings

# The reader ---------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Circle:
    family: Literal["circle"] = "circle"
    radius: float

    def __post_init__(self) -> None:
        check("radius", self.radius, self.radius > 0.0, "above 0, unlike config.side")


@dataclass(frozen=True, kw_only=True)
class Square:
    family: Literal["square"] = "square"
    side: int
    is_filled: bool = False


@dataclass(frozen=True)
class Drawing:
    shape: "Circle | Square"
    frame: Square
    names: tuple[str, ...]
    numbers: Mapping[str, int]
    title: str = "none"

    def __post_init__(self) -> None:
        check("title", self.title, self.title != "bad", "another")


CIRCLE = {"family": "circle", "radius": 2}
DRAWING = {"shape": CIRCLE, "frame": {"side": 3}, "names": ["a", "b"], "numbers": {"a": 1}}


def read(**changes):
    return read_settings(Drawing, {**DRAWING, **changes})


def test_a_config_becomes_dataclasses_and_comes_back():
    drawing = read_settings(Drawing, DRAWING)
    assert drawing.shape == Circle(radius=2.0) and isinstance(drawing.shape.radius, float)
    assert drawing.frame == Square(side=3) and drawing.names == ("a", "b")
    assert drawing.numbers == {"a": 1} and isinstance(drawing.numbers, MappingProxyType)
    square = read(shape={"family": "square", "side": 4, "is_filled": True})
    assert square.shape == Square(side=4, is_filled=True)
    assert to_dict(square) == {
        **DRAWING,
        "shape": {"family": "square", "side": 4, "is_filled": True},
        "frame": {"family": "square", "side": 3, "is_filled": False},
        "title": "none",
    }
    assert read_settings(Drawing, to_dict(square)) == square


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"shape": {"radius": 2}}, "config.shape.family is None, expected one of circle, square."),
        ({"shape": {**CIRCLE, "family": "oval"}}, "config.shape.family is 'oval', expected one o"),
        ({"shape": {**CIRCLE, "family": ["circle"]}}, r"config.shape.family is \['circle'\], exp"),
        ({"shape": 3}, "config.shape is 3, expected a group of fields."),
        ({"shape": {"family": "circle"}}, "config.shape.radius is missing. The fields are: fami"),
        ({"shape": {**CIRCLE, "side": 1}}, "config.shape.side is not known. The fields are: fam"),
        ({"shape": {**CIRCLE, "radius": "2"}}, "config.shape.radius is '2', expected a number."),
        (
            {"shape": {**CIRCLE, "radius": 0}},
            "shape.radius is 0.0, .*above 0, unlike config.shape.s",
        ),
        ({"frame": {"side": True}}, "config.frame.side is True, expected a whole number."),
        ({"frame": {"side": 1, "is_filled": 1}}, "config.frame.is_filled is 1, expected True or F"),
        (
            {"frame": {"side": 1, "family": "circle"}},
            "frame.family is 'circle', expected one of sq",
        ),
        ({"frame": {"side": 1, "family": []}}, r"frame.family is \[\], expected one of square"),
        ({"title": 3}, "config.title is 3, expected a word."),
        ({"title": "bad"}, "^config.title is 'bad', expected another."),
        ({"names": "a"}, "config.names is 'a', expected a list."),
        ({"other": 1, "more": 2}, "config.more is not known; config.other is not known. The fie"),
    ],
)
def test_a_field_that_is_wrong_is_named_with_its_groups(changes, sentence):
    with pytest.raises(UserError, match=sentence):
        read(**changes)


def test_what_is_missing_is_named_beside_what_is_not_known():
    values = {name: value for name, value in DRAWING.items() if name != "frame"}
    with pytest.raises(UserError, match=r"^config.fram is not known; config.frame is missing\."):
        read_settings(Drawing, {**values, "fram": {"side": 3}})


# The configs --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("module", "cls", "variants"),
    [
        (dcgan, TrainGanSettings, ("paper", "recommended", "small", "quick")),
        *((module, TrainGanSettings, ("quick",)) for module in load_family_configs()),
        (gmd, TrainClassifierSettings, ("paper", "small", "quick")),
    ],
)
def test_the_configs_are_valid_and_round_trip(module, cls, variants):
    for variant in variants:
        settings = read_settings(cls, module.get_config(variant).to_dict())
        assert read_settings(cls, to_dict(settings)) == settings


def test_a_config_says_which_family_it_is_of():
    members = get_args(families.GanSettings)
    for module, cls in zip(load_family_configs(), members, strict=True):
        assert type(read_settings(TrainGanSettings, module.get_config().to_dict()).gan) is cls


def test_the_default_is_the_paper():
    settings = read_settings(TrainGanSettings, dcgan.get_config().to_dict())
    gan = settings.gan
    assert (settings.num_epochs, gan.learning_rate, gan.beta1) == (4000, 2e-4, 0.5)
    assert (settings.selection.rule, settings.selection.threshold) == ("paper_text", 0.76)
    assert settings.selection.targets == {"covid": 192, "pneumonia": 150, "normal": 61}
    run = read_settings(TrainClassifierSettings, gmd.get_config().to_dict())
    assert (run.optimizer.learning_rate, run.num_epochs) == (1e-3, 200)
    assert (run.optimizer.name, run.classifier.num_outputs) == ("sgd", 4)


def test_the_paper_s_numbers_are_of_the_paper_s_variant_alone():
    for variant in ("recommended", "small", "quick"):
        settings = read_settings(TrainGanSettings, dcgan.get_config(variant).to_dict())
        assert settings.selection.targets == {}


def test_an_unknown_variant_names_those_there_are():
    with pytest.raises(ValueError, match=r"'huge'.*paper, recommended, small, quick"):
        dcgan.get_config("huge")


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"image_size": 48}, r"config.gan.image_size is 48, expected one of 32, 64, 128"),
        ({"channels": 2}, "config.gan.channels is 2"),
        ({"batch_size": "8"}, "config.batch_size is '8', expected a whole number"),
        ({"batch_size": True}, "config.batch_size is True"),
        ({"batch_size": 1}, "for batch norm"),
        ({"learning_rate": 0}, "config.gan.learning_rate is 0.0, expected above 0"),
        ({"objective": "huge"}, "non_saturating, saturating, least_squares"),
        (
            {"objective": "hinge"},
            r"'paper_text' needs a score of D .*\(config.gan.objective\).*--accept=none",
        ),
        (
            {"gradient_penalty_weight": 10.0},
            r"config.gan.gradient_penalty_weight is 10.0.*batch norm mixes.*Set config.gan.discrim",
        ),
        ({"r1_weight": 1.0}, "config.gan.r1_weight is 1.0.*batch norm mixes"),
        ({"r2_weight": 1.0}, "config.gan.r2_weight is 1.0.*batch norm mixes"),
        ({"lecam_weight": -0.1}, r"config.gan.lecam_weight is -0.1, expected 0 \(off\) or more"),
        ({"r2_weight": -1.0}, r"config.gan.r2_weight is -1.0, expected 0 \(off\) or more"),
        ({"label_smoothing": 0.7}, "below 0.5"),
        ({"augment_policy": ("flip",)}, "rotate_zoom"),
        ({"augment_target": 0.6, "diffaugment": False}, "with config.gan.diffaugment"),
        ({"ema_decay": 1.0}, "config.gan.ema_decay"),
        ({"num_epochs": 0}, "config.num_epochs is 0"),
        ({"max_steps_per_dispatch": 51}, "1 to 50"),
        ({"measure_every_epochs": -1}, "0 .never. or more"),
        ({"look_every_epochs": -1}, "look_every_epochs is -1, expected 0 .never. or more"),
        ({"sample_every_epochs": -2}, "sample_every_epochs is -2, expected 0 .never. or more"),
        ({"select_checkpoint": "last"}, "expected one of best, newest"),
        ({"selection": {"rule": "best"}}, "config.selection.rule is 'best'"),
        ({"selection": {"targets": {"a": "x"}}}, r"targets.a is 'x', expected a whole number, 0 o"),
        ({"selection": {"targets": {"a": -5}}}, r"config.selection.targets.a is -5, expected a wh"),
        ({"selection": {"targets": {"a": True}}}, r"config.selection.targets.a is True, expected"),
        ({"ema_decay": float("nan")}, "config.gan.ema_decay is nan, expected a finite number"),
        (
            {"clip_weights": float("inf")},
            "config.gan.clip_weights is inf, expected a finite number",
        ),
        ({"selection": {"threshold": float("-inf")}}, "selection.threshold is -inf, expected a f"),
        ({"selection": {"pool": float("inf")}}, "selection.pool is inf, expected a finite number"),
        ({"selection": {"truncation": 0.0}}, r"n.truncation is 0.0, expected a number above 0"),
        ({"selection": {"truncation": 1.5}}, r"n.truncation is 1.5, expected a number above 0"),
        ({"nonsense": 1}, "config.nonsense is not known"),
        (
            {"family": "dcgna"},
            "config.gan.family is 'dcgna', expected one of dcgan, mlp, projected",
        ),
        ({"num_critic_steps": 0}, "config.gan.num_critic_steps is 0, expected 1 up"),
        ({"data": 3}, "config.data is 3, expected a group of fields"),
    ],
)
def test_a_wrong_field_is_named(changes, sentence):
    with pytest.raises(UserError, match=sentence):
        make_dcgan_settings(**changes)


ANY_IMAGE = {"selection": {"rule": "none"}, "diffaugment": True}


@pytest.mark.parametrize("objective", ["least_squares", "wasserstein", "relativistic"])
def test_adaptive_strength_needs_an_objective_whose_logits_have_a_sign(objective):
    assert make_dcgan_settings(objective=objective, **ANY_IMAGE).gan.augment_target == 0.0
    expected = (
        rf"config.gan.augment_target is 0.6.*saturating, hinge, soft_hinge, not with '{objective}'"
    )
    with pytest.raises(UserError, match=expected):
        make_dcgan_settings(objective=objective, augment_target=0.6, **ANY_IMAGE)


@pytest.mark.parametrize("objective", ["non_saturating", "saturating", "hinge"])
def test_adaptive_strength_is_for_every_other_objective(objective):
    settings = make_dcgan_settings(objective=objective, augment_target=0.6, **ANY_IMAGE)
    assert settings.gan.augment_target == 0.6


@pytest.mark.parametrize("norm", ["spectral", "none"])
@pytest.mark.parametrize("penalty", ["r1_weight", "r2_weight", "gradient_penalty_weight"])
def test_penalties_go_with_every_norm_but_that_of_a_batch(penalty, norm):
    settings = make_dcgan_settings(discriminator_norm=norm, **{penalty: 1.0})
    assert getattr(settings.gan, penalty) == 1.0


def test_a_missing_field_is_named():
    values = to_dict(make_gmd_settings())
    del values["classifier"]["width"]
    with pytest.raises(UserError, match=r"config.classifier.width is missing"):
        read_settings(TrainClassifierSettings, values)


def test_a_whole_number_is_a_number_too():
    assert make_dcgan_settings(ema_decay=0).gan.ema_decay == 0.0
