"""The benchmark: its arithmetic, turns and records, and the command itself on tiny networks."""

import contextlib
import functools
import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import pytest

from jaxgan.benchmark import alternate, count, flax_peer, several, suites
from jaxgan.benchmark.alternate import run_case
from jaxgan.benchmark.record import compute_ratio, format_table, spread
from jaxgan.benchmark.run import add_utilisation, measure_peak
from jaxgan.benchmark.worker import Worker
from jaxgan.benchmark.workload import Case, Contender
from tests import forks
from tests.helpers import make_environment
from tests.naps import make_contender

ROOT = Path(__file__).resolve().parents[1]


def make_case(*contenders):
    return Case("sleep", "a nap", {}, contenders)


@pytest.fixture
def short_rounds(monkeypatch):
    """Naps take as long as they say: a few a round are enough."""
    monkeypatch.setattr(alternate, "_ROUND_SECONDS", 0.4)


@pytest.mark.usefixtures("short_rounds")
def test_the_peers_fastest_variant_counts():
    records = run_case(
        make_case(
            make_contender("jaxgan", None, seconds=0.1),
            make_contender("torch slow", "torch", seconds=0.4),
            make_contender("torch fast", "torch", seconds=0.2),
        ),
        rounds=3,
    )
    assert [record.implementation for record in records] == ["jaxgan", "torch slow", "torch fast"]
    own = records[0].to_dict()
    assert own["ratio"]["torch"] == pytest.approx(2.0, rel=0.2)
    assert own["ratio_by_implementation"]["torch slow"] == pytest.approx(4.0, rel=0.2)
    speed = own["images_per_second"]
    assert speed["min"] <= speed["median"] <= speed["max"] <= 100.0
    assert own["gflops"] == pytest.approx(10.0, rel=0.2)
    assert own["peak_memory_bytes"] > 2**20
    assert "ratio" not in records[1].to_dict()
    assert f"| {own['ratio']['torch']:.2f}x |" in format_table(records).splitlines()[4]


@pytest.mark.usefixtures("short_rounds")
def test_a_contender_that_fails_is_told_of_and_left_out(capsys):
    records = run_case(
        make_case(
            make_contender("jaxgan", None, seconds=0.1),
            make_contender("torch", "torch", seconds=0.1, fail=True),
        ),
        rounds=1,
    )
    assert [record.implementation for record in records] == ["jaxgan"]
    assert records[0].ratio == {}
    assert "Skipped torch in sleep a nap: ValueError: no such thing." in capsys.readouterr().out


def test_a_ratio_is_that_of_medians_over_common_rounds():
    assert compute_ratio([1.0, 2.0, 3.0], [6.0, 2.0]) == pytest.approx(4.0 / 1.5)
    assert spread([3.0, 1.0, 2.0]).median == 2.0


def count_flop(network, shape):
    """XLA's own count of a forward pass on `lax.conv`, an image."""
    x = jnp.zeros((2, *shape))
    variables = jax.eval_shape(network.init, jax.random.key(0), x)
    apply = functools.partial(network.apply, mutable=["batch_stats"])
    compiled = jax.jit(apply).lower(variables, x).compile()
    return compiled.cost_analysis()["flops"] / 2


def test_the_counts_are_those_of_the_networks():
    """XLA counts pointwise work too, and no product with padding: both a few percent."""
    gmd = sum(count.count_gmd_layers(32, 70))
    assert gmd == pytest.approx(count_flop(flax_peer.Gmd(32), (70, 70, 3)), rel=0.03)
    resnet = sum(count.count_resnet18_layers((16, 32, 64, 128), 256))
    assert resnet == pytest.approx(count_flop(flax_peer.Resnet18(16), (256, 256, 3)), rel=0.15)
    layers = count.count_discriminator_layers(16)
    network = functools.partial(flax_peer.Discriminator, 16)
    assert sum(layers) == pytest.approx(count_flop(network(), (64, 64, 3)), rel=0.15)
    # D: real and fake, each forward and both gradients, but for the pixels'; G's step: through D
    discriminator = 8 * sum(layers) - 2 * layers[0]
    generator = count.count_generator(16)
    stem = 2 * 100 * 16 * 8 * 16
    assert count.count_gan_step(16) == discriminator + 3 * generator - stem
    assert generator - stem == sum(layers[:-1])  # its layers are D's, the other way round


@pytest.mark.slow
def test_two_devices_share_a_batch():
    build = functools.partial(several.dcgan_train_on, num_devices=2)
    with Worker(Contender("two", None, build), {"batch_size": 4, "width": 4}) as worker:
        assert worker.built.images == 4
        assert worker.measure(1) > 0.0


def test_a_peer_that_is_not_installed_is_skipped(monkeypatch, capsys):
    monkeypatch.setattr(suites.importlib.util, "find_spec", lambda name: name != "torch" or None)
    assert suites.find_peers(("torch", "flax")) == ["flax"]
    assert "Skipped the peer torch: it is not installed" in capsys.readouterr().out


def run_benchmark(*flags):
    short = "from jaxgan.benchmark import alternate; alternate._ROUND_SECONDS = 0.4"
    return forks.run("benchmark", flags, before=short)


def test_the_command_writes_json_and_a_chart(tmp_path):
    files = tmp_path / "b.json", tmp_path / "b.png"
    flags = "--suite=sample", "--case=batch 4", "--peers=flax", "--small", "--rounds=2"
    answer = run_benchmark(*flags, f"--json={files[0]}", f"--plot={files[1]}")
    assert answer.returncode == 0, answer.stderr
    assert "| 64x64, batch 4 | flax |" in answer.stdout
    content = json.loads(files[0].read_text())
    assert content["not_measured"] == []
    assert content["environment"]["versions"]["jax"] == jax.__version__
    assert [record["implementation"] for record in content["records"]] == ["jaxgan", "flax"]
    assert content["records"][0]["ratio"]["flax"] > 0.0
    assert files[1].read_bytes().startswith(b"\x89PNG")


def test_no_case_begins_when_the_time_is_over(tmp_path):
    """But for the first of a suite; the JSON names those that were left out."""
    file = tmp_path / "b.json"
    flags = "--suite=convolutions", "--peers=", "--small"
    answer = run_benchmark(*flags, "--rounds=1", "--seconds=0.001", f"--json={file}")
    assert answer.returncode == 0, answer.stderr
    content = json.loads(file.read_text())
    assert [record["case"] for record in content["records"]] == ["matrix product 64"]
    assert len(content["not_measured"]) == 3
    for left_out in content["not_measured"]:
        assert f"{left_out}: left out, the time is over" in answer.stdout


@pytest.mark.slow
def test_the_command_that_draws_images_is_measured_as_a_user_s():
    """Beside a case of the generator alone, for the first time and again."""
    answer = run_benchmark("--suite=sample", "--peers=", "--small", "--rounds=1")
    assert answer.returncode == 0, answer.stderr
    command = "sample --num=20 of :quick"
    for case in ("64x64, batch 4", *(f"{command}, {when}" for when in ("first time", "again"))):
        assert f"| {case} | jaxgan |" in answer.stdout


@pytest.mark.usefixtures("short_rounds")
def test_on_an_accelerator_utilisation_is_added():
    records = run_case(make_case(make_contender("jaxgan", None, seconds=0.1)), rounds=1)
    add_utilisation(records, peak=40.0)
    assert records[0].to_dict()["model_flop_utilisation"] == pytest.approx(0.25, rel=0.2)
    assert measure_peak(64) > 0.0


@pytest.mark.parametrize(
    ("flag", "words"),
    [("--suite=nap", "dcgan_train"), ("--peers=theano", "torch, flax"), ("--rounds=0", "rounds")],
)
def test_mistakes_are_told(flag, words):
    answer = run_benchmark(flag)
    assert answer.returncode == 2
    assert words in answer.stderr
    assert "Traceback" not in answer.stderr


@pytest.mark.slow
def test_the_launcher_itself_is_measured():
    command = [sys.executable, str(ROOT / "launch" / "benchmark.py"), "--suite=startup,end_to_end"]
    answer = subprocess.run(
        [*command, "--small", "--rounds=1"],
        capture_output=True,
        text=True,
        env=make_environment(),
        timeout=300,
        check=False,
    )
    assert answer.returncode == 0, answer.stderr
    assert "| train_dcgan :quick, cold |" in answer.stdout
    assert "| train_dcgan :quick, 10 steps a round | bare step |" in answer.stdout


def find_launched(folder):
    """The processes whose command names a work folder below `folder`."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            words = path.read_bytes()
            if b"train_dcgan.py" in words and f"--workdir={folder}/".encode() in words:
                found.append(path.parent.name)
    return found


@pytest.mark.slow
def test_what_was_launched_ends_with_the_benchmark(tmp_path):
    command = [sys.executable, str(ROOT / "launch" / "benchmark.py"), "--suite=startup", "--small"]
    environment = make_environment() | {"TMPDIR": str(tmp_path)}
    with subprocess.Popen(command, env=environment, cwd=tmp_path) as process:
        began = time.monotonic()
        while not find_launched(tmp_path) and time.monotonic() < began + 120:
            time.sleep(0.1)
        assert find_launched(tmp_path)
        process.terminate()
        assert process.wait(60) == 128 + signal.SIGTERM
    assert find_launched(tmp_path) == []
    assert list(tmp_path.glob("tmp*")) == []
