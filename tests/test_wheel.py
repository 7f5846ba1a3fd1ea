"""The command `jaxgan`, and what a wheel has: a user without a checkout has all of both."""

import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

import jaxgan
from jaxgan.__main__ import COMMANDS
from tests import forks

ROOT = Path(__file__).resolve().parents[1]
TEMPLATES = ROOT / "jaxgan" / "study" / "templates"


def run(*arguments, cwd):
    command = [sys.executable, "-m", "jaxgan", *arguments]
    return subprocess.run(
        command, capture_output=True, text=True, cwd=cwd, timeout=300, check=False
    )


def test_the_command_lists_every_launcher(tmp_path):
    launchers = {
        path.stem.replace("_", "-")
        for path in (ROOT / "launch").glob("*.py")
        if 'if __name__ == "__main__"' in path.read_text(encoding="utf-8")
    }
    assert launchers == set(COMMANDS)
    result = run(cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert all(f"  {name} " in result.stdout for name in COMMANDS)
    assert run("--version", cwd=tmp_path).stdout == f"jaxgan {jaxgan.__version__}\n"


def test_a_command_that_there_is_not_is_a_sentence(tmp_path):
    result = run("train", cwd=tmp_path)
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr.startswith("Error: jaxgan has no command 'train': expected one of study,")


def test_a_command_is_its_launcher(tmp_path):
    """With the flags of that launcher, and a config that lies where jaxgan does."""
    flags = ("--class=pneumonia", "--config=configs/dcgan.py:quick", "--config.num_epochs=0")
    result = run("train-dcgan", *flags, f"--cache_dir={tmp_path}", cwd=tmp_path)
    assert (result.returncode, result.stdout) == (2, "")
    assert "config.num_epochs is 0" in result.stderr


@pytest.mark.parametrize(
    ("started", "said"),
    [
        (["/venv/bin/jaxgan", "train-gmd", "--augment"], "jaxgan train-gmd --augment\n"),
        (["-m", "jaxgan", "train-gmd", "--augment"], "jaxgan train-gmd --augment\n"),
        ([str(forks.LAUNCH / "train_gmd.py"), "--augment"], f"python {forks.LAUNCH}/train_gmd.py "),
    ],
)
def test_a_run_notes_the_command_as_it_was_given(started, said):
    only_say = (
        f"import sys, absl.app; sys.orig_argv = ['python', *{started!r}]\n"
        "absl.app.run = lambda main, **options: print(sys.modules['cli'].describe_command())"
    )
    assert forks.run("train_gmd", ["--augment"], before=only_say).stdout.startswith(said)


def test_every_package_is_in_the_wheel():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    folders = [file.parent for file in (ROOT / "jaxgan").rglob("__init__.py")]
    packages = {".".join(folder.relative_to(ROOT).parts) for folder in folders}
    named = set(project["tool"]["setuptools"]["packages"])
    # setuptools warns of a folder of data that has no name
    of_data = {"jaxgan.reports.templates", "jaxgan.study.templates"}
    assert named == packages | {"jaxgan.launch", "jaxgan.configs"} | of_data


@pytest.mark.slow
def test_a_wheel_in_an_empty_environment_runs_its_first_command(tmp_path):
    """Built, installed where nothing is, and run in a folder without a checkout."""
    build = [sys.executable, "-m", "build", "--wheel", "--outdir", str(tmp_path), str(ROOT)]
    built = subprocess.run(build, check=True, capture_output=True, text=True, timeout=600)
    assert "Warning" not in built.stdout + built.stderr
    (wheel,) = tmp_path.glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    assert {"jaxgan/launch/study.py", "jaxgan/configs/dcgan.py", "jaxgan/py.typed"} <= set(names)
    templates = {f"jaxgan/study/templates/{file.name}" for file in TEMPLATES.iterdir()}
    assert "jaxgan/study/templates/report.html.j2" in templates <= set(names)
    assert "jaxgan/reports/templates/reader_study.js" in names
    subprocess.run([sys.executable, "-m", "venv", str(tmp_path / "venv")], check=True)
    python = tmp_path / "venv" / "bin" / "python"
    subprocess.run([python, "-m", "pip", "install", "-q", str(wheel)], check=True, timeout=1200)
    flags = ["--class=pneumonia", "--config=configs/dcgan.py:quick", "--config.num_epochs=1"]
    first = [str(python.parent / "jaxgan"), "train-dcgan", *flags, "--cache_dir=cache"]
    result = subprocess.run(
        first, cwd=tmp_path, capture_output=True, text=True, timeout=900, check=False
    )
    assert result.returncode == 0, result.stderr
    assert (tmp_path / "runs/dcgan/pneumonia/figures/samples.png").is_file()
    assert '"jaxgan train-dcgan' in (tmp_path / "runs/dcgan/pneumonia/config.json").read_text()
