"""Runs that are killed at random moments end as if they had not been (see `tests.kills`)."""

import pytest

from tests import kills


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    path = tmp_path_factory.mktemp("kills")
    kills.prepare(path)
    return path


@pytest.mark.slow
@pytest.mark.parametrize(
    ("launcher", "num_kills"), [("train_dcgan", 20), ("train_gmd", 20), ("study", 12)]
)
def test_fifty_kills_change_nothing(place, launcher, num_kills):
    ends = kills.run(kills.SUBJECTS[launcher], place, num_kills=num_kills, seed=1)
    assert kills.count_kills(ends) >= num_kills


def test_what_differs_is_found():
    assert kills.compare({"a": b"1", "b": b"2"}, {"a": b"1", "c": b"3"}) == ["b", "c"]
    assert kills.compare({"a": b"1"}, {"a": b"2"}) == ["a"]
    assert kills.compare({"a": b"1"}, {"a": b"1"}) == []
