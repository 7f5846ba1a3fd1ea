"""The names of classes: each names the folder of a run."""

import pytest

from jaxgan.core.errors import UserError
from jaxgan.data.sets import describe_renamed, name_classes


def test_what_names_a_folder_stays_as_it_is_and_is_not_told():
    labels = ["normal", "No Finding", "covid-19", ".hidden", "a..b"]
    names = name_classes("films", [*labels, "normal"])
    assert names == {label: label for label in labels}
    assert describe_renamed(names) == []


def test_slashes_are_dashes_and_told():
    names = name_classes("films", ["b/a", "c", "/etc"])
    assert names == {"b/a": "b-a", "c": "c", "/etc": "-etc"}
    (said,) = describe_renamed(names)
    assert said.endswith("no slash: /etc is -etc, b/a is b-a.")


@pytest.mark.parametrize("label", ["", ".", "..", "x" * 201, "\u00e9" * 101])
def test_what_can_not_name_a_folder_has_its_sentence(label):
    with pytest.raises(UserError, match=r"films has a class .*which can not name the folder"):
        name_classes("films", ["clear", label])


def test_two_labels_do_not_share_a_folder():
    with pytest.raises(UserError, match="films has the classes a/b, a-b, but their runs would"):
        name_classes("films", ["a/b", "a-b"])
