"""A sentence names a command as its reader starts it."""

import sys

import pytest

from jaxgan.core.commands import name_command


@pytest.mark.parametrize(
    ("argv", "expected"),
    [
        (["python", "/env/bin/jaxgan", "study"], "jaxgan train-gan"),
        (["python", "-m", "jaxgan", "study"], "jaxgan train-gan"),
        (["python", "launch/study.py", "--x=jaxgan"], "python launch/train_gan.py"),
        (["python"], "python launch/train_gan.py"),
    ],
)
def test_commands_are_named_as_they_are_started(monkeypatch, argv, expected):
    monkeypatch.setattr(sys, "orig_argv", argv)
    assert name_command("train_gan") == expected
