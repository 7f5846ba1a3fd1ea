"""What surrounds a launcher: home folders, streams, signals, JAX's variables, paths as typed."""

import ast
import errno
import importlib
import io
import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from absl import flags as absl_flags

from tests import forks
from tests.helpers import make_environment, write_split_folder
from tests.test_launch import ROOT, TINY_GMD, make_command

LAUNCH = ROOT / "launch"


@pytest.fixture(scope="module")
def cli():
    sys.path.insert(0, str(LAUNCH))
    try:
        yield importlib.import_module("cli")
    finally:
        sys.path.remove(str(LAUNCH))


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    path = tmp_path_factory.mktemp("cli")
    write_split_folder(path / "data", num_train=24, num_val=8)
    return path


def train_command(place, workdir, *flags):
    """A GMD of four steps an epoch."""
    where = (f"--data_dir={place / 'data'}", f"--workdir={workdir}")
    return make_command("train_gmd", place, *TINY_GMD, *where, *flags)


def run(command, **environment):
    env = {**make_environment(), **environment}
    return subprocess.run(
        command, capture_output=True, text=True, env=env, timeout=300, check=False
    )


# Under nohup it would be ignored, which a process hands on to those that it starts.
HANG_UP_AS_BY_DEFAULT = (
    "import os, signal, sys; signal.signal(signal.SIGHUP, signal.SIG_DFL); "
    "os.execvp(sys.argv[1], sys.argv[1:])"
)


def start_process(command, **options):
    command = [sys.executable, "-c", HANG_UP_AS_BY_DEFAULT, *command]
    return subprocess.Popen(command, text=True, env=make_environment(), **options)


# Trainings in odd surroundings ------------------------------------------------------------------


@pytest.fixture(scope="module")
def beheaded(place):
    """A training whose reader goes after the first line (`| head -1`): what it said, its folder."""
    workdir = place / "head"
    with start_process(
        train_command(place, workdir), stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout.readline()
        process.stdout.close()
        told = process.stderr.read()
        assert process.wait(300) == 0, told
    return told, workdir / "real"


def test_a_training_outlives_its_reader_and_says_so_once(beheaded):
    told, run_folder = beheaded
    assert (run_folder / "finished.json").exists()
    assert [line for line in told.splitlines() if line.strip()] == [
        "Standard output can not be written any more (Broken pipe): going on without it. "
        "Ctrl-C stops."
    ]


def test_closed_streams_doubles_and_a_tilde_change_nothing(place, beheaded):
    """All at once: none of it may be seen in what is written."""
    command = " ".join(train_command(place, "'~/closed'")) + " >&- 2>&- <&-"
    environment = {"HOME": str(place), "JAX_ENABLE_X64": "1", "JAX_DEFAULT_PRNG_IMPL": "rbg"}
    assert run(["sh", "-c", command], **environment).returncode == 0
    ours, other = place / "closed" / "real", beheaded[1]
    assert (ours / "finished.json").exists() and not Path("~").exists()
    for name in ("metrics.jsonl", "report.json"):
        assert (ours / name).read_bytes() == (other / name).read_bytes()


def test_a_closed_terminal_saves_as_a_kill_does(place):
    workdir = place / "hung_up"
    command = train_command(place, workdir, "--config.num_epochs=100000")
    with start_process(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as process:
        for line in process.stdout:
            if line.startswith("real epoch"):
                break
        process.send_signal(signal.SIGHUP)
        rest = process.stdout.read()
    assert process.returncode == 128 + signal.SIGHUP, rest
    assert "and saved. The same command goes on from there." in rest
    assert any((workdir / "real" / "checkpoints").iterdir())


@pytest.mark.parametrize("platform", ["cuda", "nonsense"])
def test_a_platform_that_is_not_there_is_told_before_anything_is_done(place, tmp_path, platform):
    command = train_command(place, tmp_path / "runs", f"--cache_dir={tmp_path / 'cache'}")
    if platform == "nonsense":
        result = run(command, JAX_PLATFORMS=platform)
    else:
        as_by_its_variable = f"import jax; jax.config.update('jax_platforms', '{platform}')"
        result = forks.run("train_gmd", command[2:], before=as_by_its_variable)
    assert result.returncode == 2
    (line,) = result.stderr.strip().splitlines()
    assert line.startswith(f"Error: JAX_PLATFORMS is '{platform}', but JAX finds no such devices")
    assert not (tmp_path / "runs").exists() and not (tmp_path / "cache" / "folder").exists()


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        (["--config.num_epoch=3"], "There is no setting 'num_epoch'. Did you mean \"num_epochs\""),
        (["--config.num_epochs=many"], "num_epochs=many"),
        (["--data_dir=s3://bucket/films"], "'s3://bucket/films', an address: expected a folder"),
        (["--config=~nobody-of-this-name/x.py"], "there is no such home folder"),
    ],
)
def test_a_mistake_in_a_flag_is_one_line(flags, sentence):
    result = forks.run("train_gmd", flags)
    assert result.returncode == 2 and not result.stdout
    (line,) = result.stderr.strip().splitlines()
    assert line.startswith("Error: ") and sentence in line


def test_a_variable_of_jax_that_makes_no_sense_is_one_line():
    command = [sys.executable, str(LAUNCH / "train_gmd.py"), "--dry_run"]
    result = run(command, JAX_ENABLE_X64="maybe")
    assert result.returncode == 2 and not result.stdout
    (line,) = result.stderr.strip().splitlines()
    assert line.startswith("Error: ") and "'maybe'" in line and "JAX_ENABLE_X64" in line


@pytest.mark.parametrize(
    ("launcher", "flags"),
    [
        ("train_gmd", ["--config=configs/gmd.py:quick", "--config.optimizer.momentum=0.5"]),
        ("coverage", None),
        pytest.param("study", ["--config=configs/study.py:tiny"], marks=pytest.mark.slow),
        pytest.param("ablate", [], marks=pytest.mark.slow),
    ],
)
def test_a_dry_run_prints_the_configuration_and_what_is_said_goes_elsewhere(place, launcher, flags):
    where = [f"--data_dir={place / 'data'}", f"--cache_dir={place / 'cache'}"]
    flags = ["--dry_run", *([] if flags is None else [*where, *flags])]
    as_by_its_variable = "import jax; jax.config.update('jax_enable_x64', True)"
    result = forks.run(launcher, flags, before=as_by_its_variable)
    assert result.returncode == 0, result.stderr
    assert json.loads(result.stdout)
    assert "JAX_ENABLE_X64 of the environment" in result.stderr


# Paths ------------------------------------------------------------------------------------------


def test_a_path_is_what_was_meant(cli, monkeypatch):
    monkeypatch.setenv("HOME", "/home/anna")
    resolve = cli.paths.resolve
    assert resolve("workdir", "~/x") == "/home/anna/x"
    assert resolve("workdir", "~") == "/home/anna"
    assert resolve("workdir", "runs/~x") == "runs/~x"
    assert resolve("workdir", "./~x") == "./~x"  # a folder of that name, asked for as such
    assert resolve("workdir", "a:b/c") == "a:b/c"
    assert resolve("data_dir", "file:///data/films") == "/data/films"
    assert resolve("data_dir", "FILE:/data/films") == "/data/films"


@pytest.mark.parametrize(
    "text", ["s3://b/x", "gs://b/x", "https://h/x", "hdfs://h/x", "abfs://c@a/x", "s3:/b/x"]
)
def test_an_address_is_no_path(cli, text):
    with pytest.raises(ValueError, match=f"--data_dir is '{text}', an address: expected a folder"):
        cli.paths.resolve("data_dir", text)


def list_text_flags():
    """Yield launcher and name of every flag that takes text."""
    for file in LAUNCH.glob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                kinds = ("DEFINE_string", "DEFINE_multi_string", "DEFINE_list")
                if node.func.attr in kinds:
                    yield file.stem, node.args[0].value


NO_PATHS = {
    *("case", "class", "coordinator", "dataset", "patient_column", "patient_pattern", "peers"),
    *("label_column", "leave_out", "source_column", "suite", "value_range", "window"),
    *("arm", "augment_classes", "format"),
}


def test_every_flag_that_takes_text_is_known_as_a_path_or_not(cli):
    found = list(list_text_flags())
    assert len(found) > 15
    for launcher, name in found:
        assert (name in cli.paths.FLAGS) != (name in NO_PATHS), f"{launcher}: --{name}"
    assert set(cli.paths.FLAGS) <= {name for _, name in found}


def test_flags_hold_the_path_that_was_meant(cli, monkeypatch):
    monkeypatch.setenv("HOME", "/home/anna")
    values = absl_flags.FlagValues()
    absl_flags.DEFINE_multi_string("workdir", "runs", "", flag_values=values)
    absl_flags.DEFINE_string("out", None, "", flag_values=values)
    absl_flags.DEFINE_string("class", None, "", flag_values=values)
    monkeypatch.setattr(cli, "FLAGS", values)
    assert cli._parse_flags(["x", "--workdir=~/a", "--workdir=b", "--class=~c"]) == ["x"]
    assert (values.workdir, values.out, values["class"].value) == (
        ["/home/anna/a", "b"],
        None,
        "~c",
    )
    assert cli._resolve_config("--config=~/a.py:quick") == "--config=/home/anna/a.py:quick"
    assert cli._resolve_config("--config.x=~/a") == "--config.x=~/a"


def test_without_a_home_folder_the_cache_has_to_be_named(cli, monkeypatch, capsys):
    def have_none():
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", have_none)
    for arguments in (["x"], ["x", "--cache_dir=y"]):
        values = absl_flags.FlagValues()
        absl_flags.DEFINE_string("cache_dir", cli._find_cache(), "", flag_values=values)
        monkeypatch.setattr(cli, "FLAGS", values)
        if len(arguments) > 1:
            cli._parse_flags(arguments)
            assert values.cache_dir == "y"
            continue
        with pytest.raises(SystemExit, match="2"):
            cli._parse_flags(arguments)
        assert "This user has no home folder" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("source", "name"),
    [("data_dir", "workdir"), ("against", "out"), ("generated", "json"), ("held_out", "out")],
)
def test_nothing_is_written_where_images_are_read(cli, source, name, tmp_path, monkeypatch, capsys):
    def parse(value):
        values = absl_flags.FlagValues()
        for flag in (source, name):
            absl_flags.DEFINE_string(flag, None, "", flag_values=values)
        values(["x", f"--{source}={tmp_path}", f"--{name}={value}"])
        monkeypatch.setattr(cli, "FLAGS", values)

    done = []
    parse(tmp_path / "new")
    with pytest.raises(SystemExit, match="2"):
        cli._run_to_exit_code(lambda: done.append(1))
    assert f"--{name}={tmp_path / 'new'} lies in the data folder" in capsys.readouterr().err
    parse(tmp_path.with_name("beside"))
    cli._run_to_exit_code(lambda: done.append(2))
    assert done == [2]


# Streams ----------------------------------------------------------------------------------------


class Broken(io.StringIO):
    """A stream that takes so many writes."""

    def __init__(self, most, file):
        super().__init__()
        self.left, self.file, self.taken = most, file, []

    def write(self, text):
        self.left -= 1
        if self.left < 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        self.taken.append(text)
        return len(text)

    def fileno(self):
        return self.file.fileno()


def test_a_stream_that_breaks_is_told_once_and_takes_everything(cli, tmp_path):
    told = []
    with (tmp_path / "full").open("w") as file:
        stream = Broken(2, file)
        lasting = cli.streams.Lasting(stream, told.append)
        for text in ("a", "b", "c", "d"):
            assert lasting.write(text) == 1
            lasting.flush()
        assert stream.taken == ["a", "b"] and len(told) == 1
        assert told[0].errno == errno.ENOSPC
        file.write("what the buffer still holds")  # goes nowhere, and raises nothing
        lasting.close()
    assert (tmp_path / "full").read_text() == ""


def test_an_encoding_without_a_letter_ends_nothing():
    """As in a terminal of another country: the name of a class may have any."""
    code = "import streams; streams.outlive_readers(); print('肺炎')"
    result = subprocess.run(
        [sys.executable, "-c", code],
        cwd=LAUNCH,
        env={**os.environ, "PYTHONIOENCODING": "ascii"},
        capture_output=True,
        check=False,
    )
    assert result.returncode == 0 and result.stdout == rb"\u80ba\u708e" + b"\n"


def test_a_file_never_gets_the_number_of_a_closed_stream():
    code = (
        "import streams, sys; streams.open_closed(); print('lost'); "
        "print('lost', file=sys.stderr); f = open(sys.argv[1], 'w'); f.write(str(f.fileno()))"
    )
    for closed in (">&-", "2>&-", "<&- >&- 2>&-"):
        command = f'"$0" -c "$1" "$2" {closed}'
        path = Path(os.devnull)
        result = subprocess.run(
            ["sh", "-c", command, sys.executable, code, str(path)], cwd=LAUNCH, check=False
        )
        assert result.returncode == 0, closed


def test_what_changes_all_numbers_is_left_aside_and_said(cli, monkeypatch, capsys):
    class Config:
        jax_enable_x64 = True
        changed: dict[str, object] = {}  # noqa: RUF012

        def __getattr__(self, name):
            return cli._NUMBERS[name]

        def update(self, name, value):
            self.changed[name] = value

    monkeypatch.setattr(cli.jax, "config", Config())
    cli._set_numbers()
    assert Config.changed == {"jax_enable_x64": False}
    assert "JAX_ENABLE_X64 of the environment" in capsys.readouterr().out


def test_numbers_are_set_to_what_jax_computes_with_by_default(cli):
    """What is forced is what everybody has who sets nothing: no training changes."""
    code = (
        "import jax, json, sys; print(json.dumps([getattr(jax.config, n) for n in sys.argv[1:]]))"
    )
    env = {n: v for n, v in os.environ.items() if not n.startswith("JAX_")}
    result = subprocess.run(
        [sys.executable, "-c", code, *cli._NUMBERS],
        env=env,
        capture_output=True,
        text=True,
        check=True,
    )
    assert json.loads(result.stdout) == list(cli._NUMBERS.values())


def test_compiled_programs_are_kept_where_the_user_wants_and_else_in_the_cache(place, tmp_path):
    cache, users = tmp_path / "cache", tmp_path / "users"
    for chosen, kept in ((None, cache / "xla"), (str(users), users)):
        update = f"jax.config.update('jax_compilation_cache_dir', {chosen!r})"
        command = train_command(place, tmp_path / f"run{chosen is None}", f"--cache_dir={cache}")
        result = forks.run("train_gmd", command[2:], before=f"import jax; {update}")
        assert result.returncode == 0, result.stderr
        assert list(kept.glob("jit__run_steps*"))
        shutil.rmtree(cache / "xla", ignore_errors=True)
    assert list(cache.iterdir()) and not (cache / "xla").exists()


def test_the_configuration_is_out_at_once_whatever_standard_output_is_by_the_end(
    cli, tmp_path, monkeypatch
):
    with (tmp_path / "out").open("w") as stream:
        monkeypatch.setattr(cli, "_OUTPUT", [stream])
        cli.print_configuration({"seed": 1})
        assert json.loads((tmp_path / "out").read_text()) == {"seed": 1}


@pytest.mark.parametrize("name", ["train_dcgan", "train_gmd", "sample", "evaluate"])
def test_what_few_launches_need_is_loaded_where_it_is_used(name):
    command = [sys.executable, "-X", "importtime", str(ROOT / "launch" / f"{name}.py"), "--help"]
    told = subprocess.run(command, capture_output=True, text=True, env=make_environment()).stderr
    loaded = {line.rpartition("|")[2].strip() for line in told.splitlines()}
    assert "jaxgan.sampling.settings" in loaded, told[-500:]
    of_few = {"sklearn", "scipy.stats", "scipy.optimize", "scipy.ndimage", "matplotlib"}
    assert not loaded & {*of_few, "tensorflow_datasets"}
