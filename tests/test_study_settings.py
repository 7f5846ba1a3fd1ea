"""Reading the config of a study: a wrong field is called what it is called there."""

import functools
import operator

import pytest

from configs import study
from jaxgan.core.errors import UserError
from jaxgan.core.settings import read_settings
from jaxgan.study.settings import StudySettings


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("classifier.width", 7),
        ("optimizer.learning_rate", 0.0),
        ("batch_size", 0),
        ("gan_batch_size", 1),
        ("gan_epochs", 0),
        ("gan.image_size", 33),
        ("pool", 0.5),
        ("targets.normal", -1),
        ("data.fit", "zoom"),
        ("data.val_fraction", 2.0),
        ("classifier.channels", "one"),
        ("max_steps_per_dispatch", 51),
        ("checkpoint_every_seconds", -1.0),
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
    values["gan"]["objective"] = "hinge"
    with pytest.raises(UserError, match=r"The arm 'gan_paper_text' .*config\.gan\.objective"):
        read_settings(StudySettings, values)
