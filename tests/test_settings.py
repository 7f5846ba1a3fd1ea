"""Reading a config: every wrong field has its sentence."""

import functools
import operator

import pytest
from jaxgan.settings import GmdSettings

from configs import dcgan, gmd, study
from jaxgan.core.errors import UserError
from jaxgan.core.settings import read_settings, to_dict
from jaxgan.gans.dcgan import DcganSettings
from jaxgan.study.settings import StudySettings
from tests.helpers import make_dcgan_settings, make_gmd_settings


@pytest.mark.parametrize(
    ("module", "cls", "variants"),
    [
        (dcgan, DcganSettings, ("paper", "recommended", "small", "quick")),
        (gmd, GmdSettings, ("paper", "small", "quick")),
    ],
)
def test_the_configs_are_valid_and_round_trip(module, cls, variants):
    for variant in variants:
        settings = read_settings(cls, module.get_config(variant).to_dict())
        assert read_settings(cls, to_dict(settings)) == settings


def test_the_default_is_the_paper():
    settings = read_settings(DcganSettings, dcgan.get_config().to_dict())
    assert (settings.num_epochs, settings.learning_rate, settings.beta1) == (4000, 2e-4, 0.5)
    assert (settings.selection.rule, settings.selection.threshold) == ("paper_text", 0.76)
    assert settings.selection.targets == {"covid": 192, "pneumonia": 150, "normal": 61}
    classifier = read_settings(GmdSettings, gmd.get_config().to_dict())
    assert (classifier.learning_rate, classifier.num_epochs, classifier.num_outputs) == (
        1e-3,
        200,
        4,
    )


def test_the_paper_s_numbers_are_of_the_paper_s_variant_alone():
    for variant in ("recommended", "small", "quick"):
        settings = read_settings(DcganSettings, dcgan.get_config(variant).to_dict())
        assert settings.selection.targets == {}


def test_an_unknown_variant_names_those_there_are():
    with pytest.raises(ValueError, match=r"'huge'.*paper, recommended, small, quick"):
        dcgan.get_config("huge")


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"image_size": 48}, r"config.image_size is 48, expected one of 32, 64, 128"),
        ({"channels": 2}, "config.channels is 2"),
        ({"batch_size": "8"}, "config.batch_size is '8', expected a whole number"),
        ({"batch_size": True}, "config.batch_size is True"),
        ({"batch_size": 1}, "for batch norm"),
        ({"learning_rate": 0}, "config.learning_rate is 0.0, expected above 0"),
        ({"objective": "huge"}, "non_saturating, saturating, least_squares"),
        ({"objective": "hinge"}, "--accept=none"),
        ({"gradient_penalty_weight": 10.0}, "gradient_penalty_weight is 10.0.*batch norm mixes"),
        ({"r1_weight": 1.0}, "r1_weight is 1.0.*batch norm mixes"),
        ({"label_smoothing": 0.7}, "below 0.5"),
        ({"augment_policy": ("flip",)}, "rotate_zoom"),
        ({"augment_target": 0.6, "diffaugment": False}, "with config.diffaugment"),
        ({"ema_decay": 1.0}, "config.ema_decay"),
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
        ({"ema_decay": float("nan")}, "config.ema_decay is nan, expected a finite number"),
        ({"clip_weights": float("inf")}, "config.clip_weights is inf, expected a finite number"),
        ({"selection": {"threshold": float("-inf")}}, "selection.threshold is -inf, expected a f"),
        ({"selection": {"pool": float("inf")}}, "selection.pool is inf, expected a finite number"),
        ({"nonsense": 1}, "config.nonsense is not known"),
        ({"data": 3}, "config.data is 3, expected a group of fields"),
    ],
)
def test_a_wrong_field_is_named(changes, sentence):
    with pytest.raises(UserError, match=sentence):
        make_dcgan_settings(**changes)


ANY_IMAGE = {"selection": {"rule": "none"}, "diffaugment": True}


@pytest.mark.parametrize("objective", ["least_squares", "wasserstein"])
def test_adaptive_strength_needs_an_objective_whose_logits_have_a_sign(objective):
    assert make_dcgan_settings(objective=objective, **ANY_IMAGE).augment_target == 0.0
    expected = rf"augment_target is 0.6.*saturating, hinge only, not with '{objective}'.*to 0"
    with pytest.raises(UserError, match=expected):
        make_dcgan_settings(objective=objective, augment_target=0.6, **ANY_IMAGE)


@pytest.mark.parametrize("objective", ["non_saturating", "saturating", "hinge"])
def test_adaptive_strength_is_for_every_other_objective(objective):
    settings = make_dcgan_settings(objective=objective, augment_target=0.6, **ANY_IMAGE)
    assert settings.augment_target == 0.6


@pytest.mark.parametrize("norm", ["spectral", "none"])
@pytest.mark.parametrize("penalty", ["r1_weight", "gradient_penalty_weight"])
def test_penalties_go_with_every_norm_but_that_of_a_batch(penalty, norm):
    settings = make_dcgan_settings(discriminator_norm=norm, **{penalty: 1.0})
    assert getattr(settings, penalty) == 1.0


def test_a_missing_field_is_named():
    values = to_dict(make_gmd_settings())
    del values["width"]
    with pytest.raises(UserError, match=r"config.width is missing"):
        read_settings(GmdSettings, values)


def test_a_whole_number_is_a_number_too():
    assert make_dcgan_settings(ema_decay=0).ema_decay == 0.0


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("gmd.width", 7),
        ("gmd.batch_size", 0),
        ("dcgan.batch_size", 1),
        ("dcgan.seed", 2**32),
        ("dcgan.selection.pool", 0.5),
        ("dcgan.data.fit", "zoom"),
        ("data.val_fraction", 2.0),
        ("gmd.channels", "one"),
        ("num_folds", 1),
    ],
)
def test_a_wrong_field_of_a_study_is_called_what_it_is_called_there(name, value):
    values = study.get_config("quick").to_dict()
    *groups, field = name.split(".")
    functools.reduce(operator.getitem, groups, values)[field] = value
    with pytest.raises(UserError) as raised:
        read_settings(StudySettings, values)
    assert str(raised.value).startswith(f"config.{name} is {value!r}, expected")


def test_an_arm_that_needs_a_probability_names_the_study_s_field():
    values = study.get_config("quick").to_dict()
    values["dcgan"]["objective"] = "hinge"
    with pytest.raises(UserError, match=r"with config\.dcgan\.objective non_saturating"):
        read_settings(StudySettings, values)
