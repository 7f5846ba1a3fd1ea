"""A job's file that a disk has damaged counts as absent, whatever of it is damaged."""

import jax
import numpy as np
import pytest

from jaxgan.training import progress
from jaxgan.training.jobs import Job, JobRunner, describe_family, read_result, write_result
from jaxgan.training.record import LATER_OF_GANS
from tests.helpers import make_dcgan_settings

RESULT = {
    "scores_of_test": np.arange(4.0),  # so long a name makes a directory entry of 64 bytes
    "seconds": np.array(1.5),
    "record": np.array('{"seed": 0}'),
}


@pytest.fixture
def file(tmp_path):
    write_result(tmp_path / "toy.npz", RESULT)
    return tmp_path / "toy.npz"


def test_what_was_written_is_read(file):
    assert is_exact(read_result(file))


def test_of_any_one_bit_changed_nothing_else_is_read(file):
    whole, damaged = file.read_bytes(), 0
    for bit in range(0, 8 * len(whole), 3):
        content = bytearray(whole)
        content[bit // 8] ^= 1 << bit % 8
        file.write_bytes(content)
        found = read_result(file)
        assert found is None or is_exact(found), bit
        damaged += found is None
    assert damaged > len(whole)  # of the dates of a zip file, say, nothing depends


def test_of_a_cut_file_or_one_without_what_a_job_adds_nothing_is_read(file):
    whole = file.read_bytes()
    for length in (0, 1, len(whole) // 2, len(whole) - 1):
        file.write_bytes(whole[:length])
        assert read_result(file) is None
    write_result(file, {"x": np.zeros(2)})
    assert read_result(file) is None


def test_a_job_of_a_damaged_file_is_done_again_and_said(tmp_path, capsys):
    job = Job("toy", "a toy", {}, lambda partial: {"x": np.arange(3)})
    JobRunner(tmp_path, {"toy": 1}).run(job)
    (file,) = tmp_path.glob("*.npz")
    content = bytearray(file.read_bytes())
    content[content.rindex(b"PK\x01\x02") + 8] ^= 1  # the flag of an encrypted array
    file.write_bytes(content)
    assert list(JobRunner(tmp_path, {"toy": 1}).run(job)["x"]) == [0, 1, 2]
    assert "is damaged: this job is done again." in capsys.readouterr().out
    assert read_result(file) is not None


def test_time_left_does_not_count_what_the_first_job_compiles(tmp_path, capsys, monkeypatch):
    """Five seconds a job, and a minute of compilation in the first of three."""
    now = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    event = "/jax/core/compile/backend_compile_duration"

    def compute(partial):
        if not now[0]:
            now[0] += 60.0
            jax.monitoring.record_event_duration_secs(event, 60.0)
        now[0] += 5.0
        return {"x": np.zeros(1)}

    runner = JobRunner(tmp_path, {"toy": 3})
    for number in range(2):
        assert runner.run(Job("toy", f"toy {number}", {"n": number}, compute))["seconds"] == 5.0
    assert capsys.readouterr().out.splitlines() == [
        "[1/3] toy 0: 5.0 s and 60 s of compiling; about 00:10 left",
        "[2/3] toy 1: 5.0 s; about 00:05 left",
    ]


def is_exact(found):
    return list(found) == list(RESULT) and all(
        found[name].dtype == array.dtype and np.array_equal(found[name], array)
        for name, array in RESULT.items()
    )


def test_earlier_jobs_of_a_gan_keep_their_names():
    """A field that came later is in a job's record only with another value than before."""
    described = describe_family(make_dcgan_settings().gan, "dcgan")
    assert not {"family", "schedule", *LATER_OF_GANS} & {*described}
    for name in LATER_OF_GANS:
        gan = make_dcgan_settings(**{"discriminator_norm": "none", name: 2.0}).gan
        assert describe_family(gan, "dcgan")[name] == 2.0
