"""What goes wrong outside the program, as a user meets it: launchers, one sentence, an exit code.

`python -m pytest -m slow -s tests/test_faults.py` prints the sentences (docs/reliability.md).
"""

import os
import shutil
import signal
import subprocess
import sys

import pytest

from jaxgan.data.images import write_png
from tests.helpers import (
    can_mount,
    make_environment,
    make_image_set,
    mount_small_disk,
    restore_newest,
)
from tests.helpers import write_split_folder as write_folder
from tests.test_launch import TINY_DCGAN, make_command

pytestmark = pytest.mark.slow  # each is one process or more, of seconds


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    path = tmp_path_factory.mktemp("faults")
    write_folder(path / "data", num_train=24, num_val=8)
    return path


def make_flags(place, workdir, *flags):
    """A short training; the flags given last count."""
    return make_command(
        "train_dcgan",
        place,
        *TINY_DCGAN,
        "--class=left",
        "--accept=none",
        "--config.num_epochs=12",
        "--config.checkpoint_every_epochs=2",
        f"--data_dir={place / 'data'}",
        f"--workdir={workdir}",
        *flags,
    )


def train(place, workdir, *flags, before=()):
    result = subprocess.run(
        [*before, *make_flags(place, workdir, *flags)],
        capture_output=True,
        text=True,
        env=make_environment(),
        timeout=300,
        check=False,
    )
    assert "Traceback" not in result.stderr, result.stderr
    if result.returncode:
        print(f"\n{result.returncode}: {result.stderr.strip().splitlines()[-1]}")
    return result


def fail(place, workdir, *flags, before=()):
    """Return the exit code and the one sentence of a launch that fails."""
    result = train(place, workdir, *flags, before=before)
    lines = [line for line in result.stderr.splitlines() if line.strip()]
    assert len(lines) == 1, result.stderr
    return result.returncode, lines[0]


@pytest.mark.skipif(not can_mount(), reason="needs the right to mount a small file system")
def test_a_full_disk(place, tmp_path):
    with mount_small_disk(tmp_path / "disk", kibibytes=700) as disk:
        code, sentence = fail(place, disk / "run")
        assert code == 74
        assert "No space left on device. Free some space" in sentence
        subprocess.run(["mount", "-o", "remount,size=90m", str(disk)], check=True)
        assert train(place, disk / "run").returncode == 0


def test_a_limit_on_the_size_of_files(place, tmp_path):
    train(place, tmp_path / "warm")  # so that no compilation is cut short too

    # Set by a process between: what `preexec_fn` would fork has JAX's threads.
    limit = "import os, resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))"
    become = f"{limit}; os.execv(sys.executable, sys.argv[1:])"
    code, sentence = fail(place, tmp_path / "run", before=(sys.executable, "-c", become))
    assert code == 74
    assert "File too large" in sentence or "No space left" in sentence


@pytest.mark.skipif(not can_mount(), reason="needs the right to mount a small file system")
def test_a_disk_that_can_only_be_read(place, tmp_path):
    with mount_small_disk(tmp_path / "disk", kibibytes=700) as disk:
        subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
        code, sentence = fail(place, disk / "run")
    assert code == 74
    assert "Read-only file system. Make it writable" in sentence


def test_a_flipped_byte_in_the_newest_checkpoint(place, tmp_path):
    workdir = tmp_path / "run"
    train(place, workdir)
    whole = restore_newest(workdir / "left")
    newest = workdir / "left" / "checkpoints" / str(whole[0])
    file = max((p for p in newest.rglob("*") if p.is_file()), key=lambda p: p.stat().st_size)
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    (workdir / "left" / "finished.json").unlink()
    result = train(place, workdir)
    told = [line for line in result.stdout.splitlines() if "damaged" in line]
    print(f"\n{told[0]}")
    assert "the run continues from the previous one, of step" in told[0]
    assert result.returncode == 0
    assert restore_newest(workdir / "left")[0] == whole[0]


def test_the_checkpoints_of_another_run(place, tmp_path):
    train(place, tmp_path / "other", "--config.gan.generator_width=8")
    train(place, tmp_path / "run")
    folder = tmp_path / "run" / "left"
    shutil.rmtree(folder / "checkpoints")
    shutil.copytree(tmp_path / "other" / "left" / "checkpoints", folder / "checkpoints")
    (folder / "finished.json").unlink()
    code, sentence = fail(place, tmp_path / "run")
    assert code == 2
    assert "settings.gan.generator_width was 8 and is 4" in sentence


def test_another_config_in_the_same_folder(place, tmp_path):
    train(place, tmp_path / "run")
    code, sentence = fail(place, tmp_path / "run", "--config.gan.learning_rate=0.1")
    assert code == 2
    assert "settings.gan.learning_rate was 0.0005 and is 0.1" in sentence


def test_two_runs_in_one_folder(place, tmp_path):
    with subprocess.Popen(
        make_flags(place, tmp_path / "run", "--config.num_epochs=2000"),
        stdout=subprocess.PIPE,
        text=True,
        env=make_environment(),
    ) as first:
        for line in first.stdout:
            if line.startswith("left epoch"):  # 100 of 2,000
                break
        code, sentence = fail(place, tmp_path / "run", "--config.num_epochs=2000")
        first.kill()
    assert code == 2
    assert f"in use by another run (process {first.pid} on " in sentence
    process = subprocess.Popen(
        make_flags(place, tmp_path / "run", "--config.num_epochs=2000"),
        stdout=subprocess.PIPE,
        text=True,
        env=make_environment(),
    )  # a lock of a dead process is none
    with process:
        assert any("Going on after epoch" in line for line in process.stdout)
        process.send_signal(signal.SIGKILL)


def test_losses_that_are_not_finite(place, tmp_path):
    code, sentence = fail(place, tmp_path / "run", "--config.gan.learning_rate=1e30")
    assert code == 3
    assert "at step " in sentence or "after step " in sentence
    assert "Everything saved before is valid" in sentence


def test_memory_that_does_not_suffice(place, tmp_path):
    code, sentence = fail(place, tmp_path / "run", "--config.batch_size=100000000")
    assert code == 71
    assert "a smaller config.batch_size needs less" in sentence


def test_images_that_change_between_start_and_resume(place, tmp_path):
    shutil.copytree(place / "data", tmp_path / "data")
    here = (f"--data_dir={tmp_path / 'data'}",)
    assert train(place, tmp_path / "run", *here).returncode == 0
    file = next(iter(sorted((tmp_path / "data" / "train" / "left").iterdir())))
    before = file.stat()
    write_png(make_image_set(1, seed=9).images[0], file)
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    code, sentence = fail(place, tmp_path / "run", *here, "--config.num_epochs=14")
    assert code == 2
    assert "The images have changed since the run" in sentence
