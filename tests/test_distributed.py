"""Several processes as one run: real ones, on the loopback device, with CPU collectives."""

import contextlib
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import jax
import numpy as np
import pytest

from jaxgan.core.errors import DivergedError, UserError
from jaxgan.devices import distributed
from jaxgan.devices.parallel import choose_devices
from jaxgan.devices.relay import find_free_port
from jaxgan.training.run_folder import read_metrics
from tests.helpers import compute_difference, make_environment, restore_newest, write_split_folder

ROOT = Path(__file__).resolve().parents[1]
FLAGS = (
    "--class=left",
    f"--config={ROOT / 'configs' / 'dcgan.py:quick'}",
    "--config.gan.image_size=32",
    "--config.gan.generator_width=4",
    "--config.gan.discriminator_width=4",
    "--config.batch_size=8",
    "--config.selection.max_tries=16",
    "--config.checkpoint_every_epochs=2",
)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Data and a cache of compiled programs that the runs share."""
    path = tmp_path_factory.mktemp("distributed")
    write_split_folder(path / "data", num_train=32, num_val=8)
    return path


def start(place, workdir, *flags):
    return subprocess.Popen(
        [
            *(sys.executable, str(ROOT / "launch" / "train_dcgan.py"), *FLAGS, *flags),
            *(f"--data_dir={place / 'data'}", f"--cache_dir={place / 'cache'}"),
            f"--workdir={workdir}",
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=make_environment(),
    )


@contextlib.contextmanager
def start_two(place, workdir, *flags):
    """Start the two processes of one run."""
    meeting = f"--coordinator=127.0.0.1:{find_free_port()}", "--num_processes=2"
    processes = [start(place, workdir, *flags, *meeting, f"--process_id={i}") for i in (0, 1)]
    try:
        yield processes
    finally:
        for process in processes:
            process.kill()
            process.communicate()


def finish(process):
    stdout, stderr = process.communicate(timeout=300)
    return process.returncode, stdout, stderr


def wait_for_checkpoint(run):
    """Wait until something has been saved that a run can go on from."""
    deadline = time.monotonic() + 240
    while not any(path.name.isdigit() for path in (run / "checkpoints").glob("*")):
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.mark.slow
def test_two_processes_equal_two_devices(place, tmp_path):
    """Parameters, optimiser and batch statistics after 20 steps, and what the run has written."""
    epochs = "--config.num_epochs=10"
    with start_two(place, tmp_path / "two", epochs) as processes:
        for code, _, stderr in map(finish, processes):
            assert code == 0, stderr
    one = start(place, tmp_path / "one", epochs, "--num_devices=2")
    code, _, stderr = finish(one)
    assert code == 0, stderr
    (two_steps, two), (one_steps, one) = (
        restore_newest(tmp_path / n / "left") for n in ("two", "one")
    )
    assert two_steps == one_steps == 20
    assert compute_difference(two, one) < 1e-5
    runs = [read_metrics(tmp_path / name / "left") for name in ("two", "one")]
    losses = [[line["loss_g"] for line in lines] for lines in runs]
    np.testing.assert_allclose(*losses, atol=1e-4)
    assert (tmp_path / "two" / "left" / "figures" / "samples.png").is_file()


@pytest.mark.slow
@pytest.mark.parametrize("lost", [0, 1])
def test_a_lost_process_ends_the_run_with_a_sentence(place, tmp_path, lost):
    with start_two(place, tmp_path, "--config.num_epochs=100000") as processes:
        wait_for_checkpoint(tmp_path / "left")
        processes[lost].kill()
        code, _, stderr = finish(processes[1 - lost])
    assert code == distributed.LOST_EXIT_CODE, stderr
    assert "go on from the last checkpoint" in stderr
    assert "Traceback" not in stderr
    step, _ = restore_newest(tmp_path / "left")
    assert step >= 4


@pytest.mark.slow
def test_a_lost_run_goes_on(place, tmp_path):
    epochs = "--config.num_epochs=200"
    with start_two(place, tmp_path / "lost", epochs) as processes:
        wait_for_checkpoint(tmp_path / "lost" / "left")
        processes[1].kill()
        assert finish(processes[0])[0] == distributed.LOST_EXIT_CODE
    for name in ("lost", "whole"):
        with start_two(place, tmp_path / name, epochs) as processes:
            for code, _, stderr in map(finish, processes):
                assert code == 0, stderr
    whole, lost = (restore_newest(tmp_path / name / "left") for name in ("whole", "lost"))
    assert whole[0] == lost[0] == 400
    assert compute_difference(whole[1], lost[1]) == 0.0


@pytest.mark.slow
def test_a_signal_to_one_process_stops_both_at_the_same_step(place, tmp_path):
    with start_two(place, tmp_path, "--config.num_epochs=100000") as processes:
        wait_for_checkpoint(tmp_path / "left")
        processes[1].send_signal(signal.SIGTERM)
        answers = [finish(process) for process in processes]
    assert [code for code, _, _ in answers] == [128 + signal.SIGTERM] * 2, answers
    assert "The same command goes on from there" in answers[0][1]
    assert restore_newest(tmp_path / "left")[0] == read_metrics(tmp_path / "left")[-1]["step"]


@pytest.mark.slow
def test_a_training_that_diverges_ends_alike_in_every_process(place, tmp_path):
    """It is no loss: to start the same commands again would not help."""
    with start_two(place, tmp_path, "--config.gan.learning_rate=1e30") as processes:
        answers = [finish(process) for process in processes]
    assert [code for code, _, _ in answers] == [DivergedError.exit_code] * 2, answers
    for _, _, stderr in answers:
        (line,) = [line for line in stderr.splitlines() if "Error" in line]
        assert "the training has diverged" in line


@pytest.mark.parametrize(
    ("place_given", "words"),
    [
        (("host:1", None, 0), "belong together"),
        (("host", 2, 0), "HOST:PORT"),
        (("host:1", 2, 2), "expected 0 to 1"),
    ],
)
def test_mistakes_are_told(place_given, words):
    with pytest.raises(UserError, match=words):
        distributed.find_place(*place_given)


SLURM = {
    "SLURM_JOB_ID": "7",
    "SLURM_STEP_NODELIST": "node[03-04]",
    "SLURM_NTASKS": "4",
    "SLURM_PROCID": "2",
    "SLURM_LOCALID": "1",
}


def test_slurm_tells_a_process_its_place(monkeypatch):
    for name, value in SLURM.items():
        monkeypatch.setenv(name, value)
    found = distributed.find_place(None, None, None)
    assert (found.num_processes, found.process_id, found.local_device_ids) == (4, 2, (1,))
    assert found.coordinator.startswith("node03:")
    assert distributed.find_place("host:1", 2, 0) == distributed.ProcessSpec("host:1", 2, 0)
    monkeypatch.setenv("SLURM_NTASKS", "1")  # a job of one process keeps all its devices
    monkeypatch.setenv("SLURM_PROCID", "0")
    assert distributed.find_place(None, None, None) is None


@pytest.mark.parametrize("process_id", [0, 1])
def test_processes_that_do_not_meet_say_so(process_id):
    program = (
        "from jaxgan.devices import distributed; distributed._MEETING_SECONDS = 1; "
        f"spec = distributed.ProcessSpec('127.0.0.1:{find_free_port()}', 2, {process_id}); "
        "distributed.join(spec)"
    )
    result = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
        cwd=ROOT,
    )
    assert result.returncode == 2
    assert result.stderr.startswith("Error: The 2 processes of this run did not connect"), result
    assert len(result.stderr.splitlines()) == 1


def test_every_process_gives_as_many_devices(monkeypatch):
    ids = (0, 0, 1, 1, 1)
    devices = [SimpleNamespace(process_index=i, platform="gpu") for i in ids]
    monkeypatch.setattr(jax, "devices", lambda: devices)
    assert [d.process_index for d in choose_devices(2)] == [0, 0, 1, 1]
    assert [d.process_index for d in choose_devices(1)] == [0, 1]
    with pytest.raises(UserError, match="--num_devices=2 uses this number on every process"):
        choose_devices()
    with pytest.raises(UserError, match="from 1 to 2"):
        choose_devices(3)


def test_one_process_is_no_several():
    assert distributed.find_place("host:1", 1, 0) is None
    assert distributed.find_place(None, None, None) is None
    assert distributed.leads()
    assert not distributed.is_several()
    assert distributed.agree(3) == 3
    assert distributed.share((1, "a")) == (1, "a")
