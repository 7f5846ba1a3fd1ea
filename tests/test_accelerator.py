"""The check of a machine's accelerators, as far as a machine without one can run it."""

import json
import re
import subprocess
import sys
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import pytest

from tests import accelerator
from tests.accelerator import Clock, Line, run_part
from tests.accelerator_parity import (
    BOUNDS,
    Check,
    compare,
    list_checks,
    make_gmd_step,
    measure,
    take_step,
)
from tests.helpers import make_environment

SCRIPT = Path(__file__).with_name("accelerator.sh")
CHECK = {
    "name": "a step",
    "difference": {"losses": 1e-6, "gradients": 0.3},
    "bound": {"losses": 1e-3, "gradients": 0.2},
    "passed": False,
}


def run_script(*arguments, **variables):
    return subprocess.run(
        ["bash", str(SCRIPT), *map(str, arguments)],
        env=make_environment() | {"PYTHON": sys.executable, **variables},
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_step_is_that_of_float64_and_another_is_not():
    """A gradient of other labels is as far off as it is long, or nearly."""
    results = {}
    found = measure(Check("GMD", "float32", 1), True, results)
    assert found["passed"]
    assert 0.0 < found["difference"]["gradients"] < 1e-5
    step = make_gmd_step(True, "float32")
    labels = jnp.roll(step.batch.labels, 1)
    other = take_step(step._replace(batch=step.batch._replace(labels=labels)), jax.devices()[:1])
    _, difference = compare(other, results["GMD", "float64"])
    assert difference > max(gradients for _, gradients in BOUNDS.values())


def test_every_kind_of_step_is_compared_on_one_device_and_on_all(monkeypatch):
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    checks = list_checks(4)
    assert {(check.kind, check.form, check.num_devices) for check in checks} == {
        (kind, form, num)
        for kind in ("DCGAN", "GMD")
        for form, num in (("float32", 1), ("float32", 4), ("bfloat16", 1), ("float32 highest", 1))
    }
    assert {check.form for check in checks} == set(BOUNDS)
    assert len({check.name for check in checks}) == len(checks)


def test_the_tests_that_are_named_are_there():
    for name in (*accelerator.TESTS, *accelerator.TESTS_OF_SEVERAL, *accelerator.SMALL_TESTS):
        file, _, function = name.partition("::")
        source = Path(__file__).with_name(file).read_text()
        decorated = re.search(rf"((?:^@.*\n(?:[ )].*\n)*)*)^def {function}\(", source, re.MULTILINE)
        assert decorated is not None, name
        assert "@pytest.mark.slow" not in decorated.group(1), name


def test_a_part_ends_with_its_time_and_so_does_what_it_has_started(tmp_path, monkeypatch):
    monkeypatch.setitem(accelerator._SECONDS, "tests", 1.0)
    file = tmp_path / "late"
    child = f"import time, pathlib; time.sleep(3); pathlib.Path({str(file)!r}).touch()"
    words = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {child!r}])"
    begin = time.monotonic()
    part = run_part("tests", [sys.executable, "-c", words], tmp_path, Clock(60.0))
    assert part.code is None
    assert time.monotonic() - begin < 3.0
    time.sleep(3.0)
    assert not file.exists()


def test_no_part_begins_when_the_time_is_over(tmp_path):
    part = run_part("tests", [sys.executable, "-c", "1"], tmp_path, Clock(0.0))
    assert part == (None, 0.0)
    assert list(tmp_path.iterdir()) == []


def test_what_is_wrong_or_was_not_reached_is_in_the_table():
    parity = {"code": None, "checks": [CHECK], "not_reached": ["another step"]}
    wrong, missing = accelerator.list_parity_lines(parity)
    assert wrong.passed is False
    assert "gradients 3.0e-01 (at most 0.2)" in wrong.result
    assert missing == Line("another step", "not reached: the time was over", False)
    (tests,) = accelerator.list_test_lines({"code": 3})
    assert tests.passed is False
    assert "ended with code 3" in tests.result
    benchmark = {"records": [], "not_measured": ["gmd_train, batch 8"]}
    (case,) = accelerator.list_benchmark_lines(benchmark)
    assert case.passed is None
    table = accelerator.format_table([wrong, missing, tests, case])
    assert [line[:5] for line in table.splitlines()] == ["WRONG"] * 3 + [" " * 5]
    assert "gmd_train, batch 8" in table


@pytest.mark.parametrize(
    ("counts", "passed"),
    [
        ({"tests": 3, "failures": 0, "errors": 0, "skipped": 1}, True),
        ({"tests": 3, "failures": 1, "errors": 0, "skipped": 0}, False),
        ({"tests": 3, "failures": 0, "errors": 1, "skipped": 0}, False),
        ({"tests": 0, "failures": 0, "errors": 0, "skipped": 0}, False),
    ],
)
def test_no_test_may_be_wrong_and_one_must_have_run(counts, passed):
    (line,) = accelerator.list_test_lines({"code": 0, **counts})
    assert line.passed is passed


def test_a_case_is_told_with_its_share_of_the_peak_and_the_peers():
    record = {"images_per_second": {"median": 12345.6}, "ratio": {"torch": 1.5}}
    words = accelerator.describe_record(record | {"model_flop_utilisation": 0.421})
    assert words == "1.235e+04 images/s, 42.1% of the matrix product's FLOP/s, 1.50x torch"
    seconds = {"images_per_second": None, "seconds": {"median": 3.21}}
    assert accelerator.describe_record(seconds) == "3.2 s"


def test_a_machine_without_an_accelerator_is_told(tmp_path, capsys):
    assert accelerator.check_machine(tmp_path, 60.0, small=False) == 2
    assert "JAX finds only a CPU: expected an accelerator, or --small." in capsys.readouterr().err


def test_a_folder_for_the_results_is_needed():
    answer = run_script()
    assert answer.returncode == 2
    assert "bash tests/accelerator.sh OUT" in answer.stderr


@pytest.mark.slow
def test_the_whole_check_in_its_small_form(tmp_path):
    """On two virtual devices, with a folder of wheels that has none: all is there already."""
    wheels = tmp_path / "wheels"
    wheels.mkdir()
    flags = make_environment()["XLA_FLAGS"] + " --xla_force_host_platform_device_count=2"
    answer = run_script(tmp_path / "out", "--small", XLA_FLAGS=flags, WHEELS=str(wheels))
    assert answer.returncode == 0, answer.stdout + answer.stderr
    content = json.loads((tmp_path / "out" / "accelerator.json").read_text())
    assert content["passed"]
    assert content["device"]["num_devices"] == 2
    assert [check["passed"] for check in content["parity"]["checks"]] == [True] * 6
    assert content["tests"]["tests"] > 0
    suites = {record["suite"] for record in content["benchmark"]["records"]}
    assert suites == {"dcgan_train", "gmd_train", "sample", "scaling"}
    assert "All is well" in answer.stdout.splitlines()[-1]
