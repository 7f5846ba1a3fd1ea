"""Check this machine's accelerators: see accelerator.sh, which runs this.

Every part is a process of its own with a limit in seconds, and all of them share one: what does
not fit is named in the table and in the JSON. The exit code is 1 where a step or a test is wrong,
or was not reached.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import time
import xml.etree.ElementTree as ET
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parents[1]

# Tests that say something of a device. None needs the bytes of a CPU.
TESTS = (
    "test_dtype.py::test_fifty_gan_steps_in_bfloat16_stay_near_float32",
    "test_dtype.py::test_fifty_classifier_steps_in_bfloat16_stay_near_float32",
    "test_dtype.py::test_what_leaves_a_network_is_float32",
    "test_step.py::test_it_learns_what_is_easy",
    "test_step.py::test_every_image_is_predicted_exactly_once",
    "test_two_player.py::test_the_discriminator_step_leaves_the_generator_and_learns",
    "test_two_player.py::test_the_generator_sees_the_updated_discriminator",
    "test_two_player.py::test_latents_depend_on_their_seed_alone",
    "test_sampler.py::test_images_are_those_of_the_seeds_however_many_fill_the_last_batch",
    "test_feed.py::test_every_epoch_is_a_permutation_and_no_two_are_alike",
    "test_distributed.py::test_every_process_gives_as_many_devices",
)
TESTS_OF_SEVERAL = (
    "test_two_player.py::test_one_device_equals_two_batch_statistics_included",
    "test_step.py::test_one_device_equals_two",
    "test_feed.py::test_all_feeds_give_the_same_batches",
)
SMALL_TESTS = ("test_feed.py::test_every_epoch_is_a_permutation_and_no_two_are_alike",)

# How many seconds a part may take at most; fewer where fewer are left.
_SECONDS = {"devices": 60.0, "parity": 170.0, "tests": 110.0, "benchmark": 480.0}
_DESCRIBE = """
import json
import jax
from jaxgan.benchmark.environment import describe_environment
devices = jax.devices()
memory = [(d.memory_stats() or {}).get("bytes_limit") for d in devices]
backend = jax.default_backend()
print(json.dumps(describe_environment() | {"backend": backend, "memory_bytes": memory}))
"""


class Line(NamedTuple):
    """A line of the table; `passed` is None for what is measured and not judged."""

    name: str
    result: str
    passed: bool | None = None


class Clock:
    """How many seconds are left."""

    def __init__(self, seconds: float):
        self._begin, self._end = time.monotonic(), time.monotonic() + seconds

    @property
    def left(self) -> float:
        """Seconds that are left, 0 at least."""
        return max(self._end - time.monotonic(), 0.0)

    @property
    def spent(self) -> float:
        """Seconds since the beginning."""
        return time.monotonic() - self._begin


class Part(NamedTuple):
    """How a part ended: its exit code, None where its time was over before."""

    code: int | None
    seconds: float


def run_part(name: str, command: Sequence[str], out: Path, clock: Clock, **variables: str) -> Part:
    """Run a command until it ends, or its time is over; what it says goes to OUT/NAME.log.

    `variables` join the environment.
    """
    limit, begin = min(_SECONDS[name], clock.left), time.monotonic()
    if not limit:
        return Part(None, 0.0)
    # Of several processes on one device none takes all of its memory. The checkout is what is
    # checked, whether it is installed or not.
    environment = {**os.environ, "XLA_PYTHON_CLIENT_PREALLOCATE": "false", **variables}
    folders = str(ROOT), os.environ.get("PYTHONPATH", "")
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, folders))
    print(f"{name}: at most {limit:.0f} s, see {out / name}.log", flush=True)
    with (out / f"{name}.log").open("w") as log:
        process = subprocess.Popen(
            command, cwd=ROOT, env=environment, stdout=log, stderr=log, start_new_session=True
        )
        try:
            code: int | None = process.wait(limit)
        except subprocess.TimeoutExpired:
            code = None
        finally:  # its own processes too, and also where this one is interrupted
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
    return Part(code, time.monotonic() - begin)


def describe_devices(out: Path, clock: Clock) -> dict[str, Any]:
    """Return versions and devices; an empty dictionary where they can not be had."""
    part = run_part("devices", [sys.executable, "-c", _DESCRIBE], out, clock)
    lines = (out / "devices.log").read_text().splitlines() if part.code == 0 else []
    return json.loads(lines[-1]) if lines else {}


def check_parity(out: Path, clock: Clock, small: bool) -> dict[str, Any]:
    """Return what the steps' comparison has found, and the names of what it did not reach."""
    file = out / "parity.jsonl"
    file.unlink(missing_ok=True)
    command = [sys.executable, "-m", "tests.accelerator_parity", str(file), *small_flag(small)]
    part = run_part("parity", command, out, clock)
    lines = file.read_text().splitlines() if file.is_file() else []
    # A line that was being written when the time was over is no line.
    whole = [json.loads(line) for line in lines if line.endswith(("}", "]"))]
    names, checks = (whole[0], whole[1:]) if whole else (["all steps"], [])
    return {**part._asdict(), "checks": checks, "not_reached": names[len(checks) :]}


def small_flag(small: bool) -> list[str]:
    """Return the flag that a part takes for its small form."""
    return ["--small"] if small else []


def run_tests(out: Path, clock: Clock, small: bool, num_devices: int) -> dict[str, Any]:
    """Run the fast tests that are about devices."""
    names = SMALL_TESTS if small else TESTS + TESTS_OF_SEVERAL * (num_devices > 1)
    report = out / "tests.xml"
    report.unlink(missing_ok=True)
    command = [
        *(sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-m", "not slow"),
        # Warnings of the versions that this machine has are no matter of its devices.
        *("-W", "default", f"--junitxml={report}", *(f"tests/{name}" for name in names)),
    ]
    exact = {"JAX_DEFAULT_MATMUL_PRECISION": "highest"}
    part = run_part("tests", command, out, clock, **exact)
    counts = read_counts(report) if report.is_file() else {}
    return {**part._asdict(), "selected": names, **counts}


def read_counts(report: Path) -> dict[str, int]:
    """Return how many tests there were in a report of pytest's, and how many went wrong."""
    suite = ET.parse(report).getroot().find("testsuite")
    assert suite is not None
    return {name: int(suite.get(name, 0)) for name in ("tests", "failures", "errors", "skipped")}


def run_benchmark(out: Path, clock: Clock, small: bool, num_devices: int) -> dict[str, Any]:
    """Measure training and sampling beside PyTorch, on all devices too where there are several."""
    # The last case of `sample` trains a run, which needs most of the machine.
    suites = ["dcgan_train", "gmd_train", *["scaling"] * (num_devices > 1), "sample"]
    file, rounds = out / "benchmark.json", 1 if small else 3
    file.unlink(missing_ok=True)
    command = [
        *(sys.executable, "launch/benchmark.py", f"--suite={','.join(suites)}", f"--json={file}"),
        *(f"--rounds={rounds}", "--peers=" if small else "--peers=torch", *small_flag(small)),
        # The last case that begins needs time to end.
        *(f"--seconds={max(0.6 * clock.left, 0.001):.3f}", "--case=batch" if small else "--case="),
    ]
    part = run_part("benchmark", command, out, clock)
    content = {"records": [], "not_measured": ["all cases"]}
    if file.is_file():
        content = json.loads(file.read_text())
    return {**part._asdict(), **content}


def list_parity_lines(parity: Mapping[str, Any]) -> Iterator[Line]:
    """Yield the lines of the steps' comparison."""
    for check in parity["checks"]:
        found = ", ".join(
            f"{name} {value:.1e} (at most {check['bound'][name]:g})"
            for name, value in check["difference"].items()
        )
        yield Line(check["name"], found, check["passed"])
    for name in parity["not_reached"]:
        yield Line(name, describe_end(parity), False)


def describe_end(part: Mapping[str, Any]) -> str:
    """Say why something of a part is missing."""
    if part["code"] is None:
        return "not reached: the time was over"
    return f"not reached: the part ended with code {part['code']}, see its log"


def list_test_lines(tests: Mapping[str, Any]) -> Iterator[Line]:
    """Yield the line of the tests."""
    if "tests" not in tests:
        yield Line("tests about devices", describe_end(tests), False)
        return
    wrong = tests["failures"] + tests["errors"]
    good = tests["tests"] > 0 and not wrong and tests["code"] == 0
    text = f"{tests['tests']} run, {wrong} wrong, {tests['skipped']} skipped"
    yield Line("tests about devices", text, good)


def list_benchmark_lines(benchmark: Mapping[str, Any]) -> Iterator[Line]:
    """Yield the lines of jaxgan's records, and of the cases that were not measured."""
    for record in benchmark["records"]:
        if record["implementation"] == "jaxgan":
            yield Line(f"{record['suite']}, {record['case']}", describe_record(record))
    for name in benchmark["not_measured"]:
        yield Line(name, "not measured: the time was over, or see benchmark.log")


def describe_record(record: Mapping[str, Any]) -> str:
    """Say how fast a case is, what share of the peak that is, and how many times a peer."""
    if record["images_per_second"] is None:
        return f"{record['seconds']['median']:.1f} s"
    words = [f"{record['images_per_second']['median']:.4g} images/s"]
    if "model_flop_utilisation" in record:
        words.append(f"{record['model_flop_utilisation']:.1%} of the matrix product's FLOP/s")
    words += [f"{ratio:.2f}x {peer}" for peer, ratio in record["ratio"].items()]
    return ", ".join(words)


def format_table(lines: Sequence[Line]) -> str:
    """Return the lines under one another, columns aligned."""
    marks = {True: "ok", False: "WRONG", None: ""}
    width = max(len(line.name) for line in lines)
    return "\n".join(
        f"{marks[line.passed]:<7}{line.name:<{width}}  {line.result}" for line in lines
    )


def check_machine(out: Path, seconds: float, small: bool) -> int:
    """Run all parts, write OUT/accelerator.json, print the table; return the exit code."""
    clock = Clock(seconds)
    out.mkdir(parents=True, exist_ok=True)
    device = describe_devices(out, clock)
    if not device or (device["backend"] == "cpu" and not small):
        found = "only a CPU" if device else f"no device, see {out / 'devices.log'}"
        print(f"Error: JAX finds {found}: expected an accelerator, or --small.", file=sys.stderr)
        return 2
    num = device["num_devices"]
    parity = check_parity(out, clock, small)
    tests = run_tests(out, clock, small, num)
    benchmark = run_benchmark(out, clock, small, num)
    lines = [*list_parity_lines(parity), *list_test_lines(tests), *list_benchmark_lines(benchmark)]
    passed = all(line.passed is not False for line in lines)
    content = {"passed": passed, "seconds": clock.spent, "device": device}
    content |= {"parity": parity, "tests": tests, "benchmark": benchmark}
    (out / "accelerator.json").write_text(json.dumps(content, indent=2) + "\n")
    versions = ", ".join(f"{name} {version}" for name, version in device["versions"].items())
    print(f"\n{num} x {device['device']}; Python {device['python']}, {versions}")
    print(format_table(lines))
    print(f"{'All is well' if passed else 'Something is WRONG'}, after {clock.spent:.0f} s: {out}")
    return 0 if passed else 1


def main() -> int:
    """Read the command's arguments."""
    parser = argparse.ArgumentParser(description="Check this machine's accelerators.")
    parser.add_argument("out", type=Path, help="folder for accelerator.json and the logs")
    parser.add_argument("--seconds", type=float, default=480.0, help="how long it may take")
    parser.add_argument("--small", action="store_true", help="tiny networks, also on a CPU")
    arguments = parser.parse_args()
    return check_machine(arguments.out, arguments.seconds, arguments.small)


if __name__ == "__main__":
    sys.exit(main())
