"""`--help` of every launcher: short, grouped, its own flags alone, exit code 0."""

import re
import shlex
from pathlib import Path

import pytest

from jaxgan.__main__ import COMMANDS
from tests import forks
from tests.helpers import write_split_folder

LAUNCHERS = [name.replace("-", "_") for name in COMMANDS]
MOST_LINES, MOST_LETTERS = 40, 120


@pytest.mark.parametrize("name", LAUNCHERS)
def test_help_is_short_and_has_an_example_that_the_launcher_takes(name, tmp_path):
    result = forks.run(name, ["--help"], cwd=tmp_path)
    lines = result.stdout.splitlines()
    assert (result.returncode, result.stderr) == (0, "")
    assert len(lines) < MOST_LINES
    assert max(map(len, lines)) <= MOST_LETTERS
    (example,) = re.findall(r"^Example: python launch/(.*)", result.stdout, re.MULTILINE)
    launcher, *flags = shlex.split(example)
    assert launcher == f"{name}.py"
    only_parse = (
        "import sys, absl.app\n"
        "absl.app.run = lambda main, flags_parser, **options: flags_parser(sys.argv)"
    )
    taken = forks.run(name, flags, cwd=tmp_path, before=only_parse)
    assert taken.returncode == 0, taken.stderr


def test_flags_are_in_groups_with_value_default_and_example():
    text = forks.run("train_dcgan", ["--help"]).stdout
    data, run, output = (
        text.partition(f"\n{title}:\n")[2].partition("\n\n")[0]
        for title in ("Data", "Run", "Output")
    )
    assert "--data_dir=FOLDER" in data
    assert "--class=NAME" in run
    assert "[configs/dcgan.py:paper]" in run
    assert "--workdir=FOLDER" in output
    assert "[runs/dcgan]" in output
    assert "--verbosity" not in text  # one of absl's
    assert str(Path.home()) not in text


def test_every_own_flag_is_there():
    text = forks.run("evaluate", ["-h"]).stdout
    source = (forks.LAUNCH / "evaluate.py").read_text(encoding="utf-8")
    names = re.findall(r"DEFINE_\w+\(\s*\"(\w+)\"", source)
    assert len(names) > 10
    assert all(f"--{name}" in text for name in names)


@pytest.mark.parametrize(("name", "part"), [("study", "weeks on a CPU"), ("train_gmd", "4 hours")])
def test_the_effort_of_the_default_is_said_first(name, part, tmp_path):
    write_split_folder(tmp_path / "data", num_train=24, num_val=8)
    flags = ["--dry_run", f"--cache_dir={tmp_path}", f"--data_dir={tmp_path / 'data'}"]
    result = forks.run(name, flags, cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert part in result.stderr.splitlines()[0]
    given = forks.run(name, [*flags, f"--config={forks.LAUNCH.parent}/configs/study.py:quick"])
    assert part not in given.stderr
