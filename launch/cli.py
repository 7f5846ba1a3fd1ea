"""The common parts of the launchers: shared flags, and one-line messages for user mistakes."""

import huge_pages
import installed
import streams

huge_pages.use_huge_pages()
streams.open_closed()
installed.check_installed()

import contextlib
import functools
import hashlib
import json
import logging as standard_logging
import operator
import os
import runpy
import shlex
import shutil
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TextIO

# Without a home folder it prints a long warning about a folder for its fonts.
standard_logging.getLogger("matplotlib").setLevel(standard_logging.ERROR)

try:
    import jax
except ValueError as error:  # an environment variable of JAX has an invalid value
    print(f"Error: {error}: correct that, or unset it.", file=sys.stderr)
    sys.exit(2)
import helping
import paths
from absl import app, flags, logging
from ml_collections import ConfigDict, config_flags

from jaxgan.core.commands import is_installed_command
from jaxgan.core.console import say
from jaxgan.core.errors import UserError, find_memory_error, find_refusal, list_some
from jaxgan.core.untrusted import printable, printable_lines
from jaxgan.core.unused import Unused, check_unused, describe_unused
from jaxgan.data import cache
from jaxgan.data.fit import FITS
from jaxgan.data.folder import PATIENTS_FROM
from jaxgan.data.sets import Dataset
from jaxgan.data.settings import DataSettings, Sized
from jaxgan.data.source import DataSpec, load_dataset
from jaxgan.data.values import AUTO, parse_view
from jaxgan.devices import distributed
from jaxgan.training.loop import Stopped
from jaxgan.training.record import flatten

ROOT = Path(__file__).resolve().parents[1]
FLAGS = flags.FLAGS
DATA_FLAGS: list[str] = []  # the flags of `define_data_flags` that concern the images
# Groups and fields that got another name when groups were divided; others kept theirs.
_RENAMED_GROUPS = {"dcgan": ("gan", "train.gan", "train"), "gmd": ("classifier", "optimizer")}
_RENAMED = {"dcgan.num_epochs": "gan_epochs", "dcgan.batch_size": "gan_batch_size"}
_EFFORT: list[str] = []  # how long the default config takes
_OUTPUT: list[TextIO] = []  # where --dry_run prints the configuration
# Settings of JAX that change the numbers of every program, with the values that jaxgan uses.
_NUMBERS = {
    "jax_enable_x64": False,
    "jax_default_prng_impl": "threefry2x32",
    "jax_threefry_partitionable": True,
    "jax_numpy_dtype_promotion": "standard",
    "jax_numpy_rank_promotion": "allow",
    "jax_random_seed_offset": 0,
}
# Flags for folders of images, and the flags for output of a command that reads them.
_WRITTEN = {
    "data_dir": ("workdir", "out", "json", "cache_dir"),
    **dict.fromkeys(("generated", "against", "held_out"), ("out", "json")),
    "images": ("out", "cache_dir"),
}

_OF_FOLDERS = (
    "--on_bad_image",
    "--follow_links",
    "--patients_from",
    "--label_column",
    "--leave_out",
)


def define_data_flags() -> None:
    """Define the flags that say which images to use."""
    others = set(FLAGS)
    flags.DEFINE_string("data_dir", None, "Your images, for example films. Default: the phantom.")
    flags.DEFINE_string("dataset", None, "Instead: a set of the TFDS catalogue, e.g. mnist.")
    column = "Column of manifest.csv that names"
    flags.DEFINE_string("patient_column", None, f"{column} the patient, e.g. PatientID.")
    flags.DEFINE_string(
        "patient_pattern", None, "Finds the patient in a path below its class, e.g. 'p[0-9]+'."
    )
    flags.DEFINE_enum("patients_from", "auto", PATIENTS_FROM, "What names the patient:")
    flags.DEFINE_string("label_column", None, f"{column} the class (in labels.csv too).")
    flags.DEFINE_bool("follow_links", False, "Follow links that lead out of --data_dir.")
    flags.DEFINE_list("leave_out", [], "Files and folders that are no data, e.g. masks,old.")
    flags.DEFINE_enum(
        "on_bad_image", "error", ["error", "skip"], "Stop at bad images, or leave them out."
    )
    flags.DEFINE_enum(
        "fit", None, FITS, "Images that are not square: cut, add margins, stretch. Config: crop."
    )
    flags.DEFINE_string(
        "value_range", None, "Values shown as black and white, e.g. -1000,400. Config: auto."
    )
    flags.DEFINE_string("window", None, "The same as a DICOM window, e.g. 40,400.")
    define_cache_flag()
    DATA_FLAGS[:] = [f"--{name}" for name in FLAGS if name not in {*others, "cache_dir"}]


def define_cache_flag() -> None:
    """Define the flag that says where prepared data are kept."""
    flags.DEFINE_string("cache_dir", _find_cache(), "Where prepared images are kept.")


def _find_cache() -> str | None:
    """Return the default folder for prepared data; None without a home folder."""
    try:
        return str(Path.home() / ".cache" / "jaxgan")
    except RuntimeError:  # no HOME, and a user that the system does not know, as in containers
        return None


def define_run_flags(config_file: str | None, *, effort: str = "") -> None:
    """Define the flags of a training: its config (required if it has no default) and its devices.

    `effort` says how long the default config takes, and which config is faster. It is printed if
    no config is given.
    """
    _EFFORT[:] = [effort] if effort else []
    default = None if config_file is None else str(ROOT / config_file)
    _check_fields(sys.argv, default)
    with _reporting_mistakes():  # values for fields of the default config are checked here
        config_flags.DEFINE_config_file(
            "config", default, "Settings; --config.FIELD=VALUE changes one of them."
        )
    if config_file is None:
        flags.mark_flag_as_required("config")
    flags.DEFINE_integer("num_devices", 0, "How many devices to use, of every process; 0: all.")
    flags.DEFINE_bool("dry_run", False, "Show the settings and notices about the data, then stop.")


def define_weights_flag() -> None:
    """Define the flag that says what a classifier begins with."""
    flags.DEFINE_string("weights", None, "A classifier's weights: a file to begin with; imagenet.")


def override_weights(values: dict[str, Any]) -> dict[str, Any]:
    """Return a config's values with the weights that the flag names, where it was given."""
    if FLAGS.weights is None:
        return values
    return {**values, "transfer": {**values.get("transfer", {}), "weights": FLAGS.weights}}


def define_process_flags() -> None:
    """Define the flags of a run that several processes share."""
    flags.DEFINE_string(
        "coordinator", None, "Several machines: the first one and a free port, e.g. 10.0.0.1:1234."
    )
    flags.DEFINE_integer("num_processes", None, "Several machines: how many, one process each.")
    flags.DEFINE_integer("process_id", None, "Several machines: number of this one, from 0.")


def load_data(settings: DataSettings, *, image_size: int, channels: int) -> Dataset:
    """Load the images that the data flags name, with the config's settings for data."""
    _check_platform()  # before steps that may take long
    spec = DataSpec.of(
        settings,
        data_dir=Path(FLAGS.data_dir) if FLAGS.data_dir else None,
        dataset=FLAGS.dataset,
        patient_column=FLAGS.patient_column,
        patient_pattern=FLAGS.patient_pattern,
        patients_from=FLAGS.patients_from,
        label_column=FLAGS.label_column,
        follow_links=FLAGS.follow_links,
        leave_out=tuple(FLAGS.leave_out),
        skip_bad_images=FLAGS.on_bad_image == "skip",
    )
    cache_dir = get_cache_dir()
    with distributed.leader_first():
        dataset = load_dataset(spec, image_size=image_size, channels=channels, cache_dir=cache_dir)
    _report_temporary_cache()
    return dataset


def get_cache_dir() -> Path:
    """Return --cache_dir, or a temporary folder in its place if it cannot be written."""
    cache_dir = Path(FLAGS.cache_dir)
    return cache_dir if cache.is_writable(cache_dir) else _make_temporary_cache(cache_dir)


@functools.cache
def _make_temporary_cache(cache_dir: Path) -> Path:
    """Create a folder with the content of a read-only cache, for newly prepared data."""
    folder = Path(tempfile.mkdtemp(prefix="jaxgan-"))
    distributed.at_end(functools.partial(shutil.rmtree, folder, ignore_errors=True))
    cache.lay_over(cache_dir, folder)
    return folder


def _report_temporary_cache() -> None:
    """Say once that newly prepared data will be removed, if there are any."""
    cache_dir = get_cache_dir()
    if cache_dir != Path(FLAGS.cache_dir) and cache.find_new(cache_dir):
        _say_once(
            f"The cache {FLAGS.cache_dir} can not be written: prepared data are removed when this "
            "process ends. --cache_dir=DIR keeps them in another folder."
        )


@functools.cache
def _say_once(sentence: str) -> None:
    say(sentence)


def _check_places() -> None:
    """Refuse to write into a folder of images: the next command would read the output as data."""
    for source, names in _WRITTEN.items():
        folder = FLAGS[source].value if source in FLAGS else None
        if not folder:
            continue
        for name in set(names) & set(FLAGS):
            values = FLAGS[name].value
            for value in values if isinstance(values, list) else [values]:
                if value and Path(os.path.realpath(value)).is_relative_to(os.path.realpath(folder)):
                    raise UserError(
                        f"--{name}={value} lies in the data folder {folder}. The next command "
                        f"would read the output as data: choose another --{name}."
                    )


def get_file(name: str) -> Path | None:
    """Return the output file that a flag names; a folder is refused before the work starts."""
    value = FLAGS[name].value
    if value and Path(value).is_dir():
        raise UserError(f"--{name}={value} is a folder: expected the name of a file.")
    return Path(value) if value else None


def load_data_of(settings: DataSettings, learner: Sized) -> Dataset:
    """Load the images that the data flags name, in the size that `learner` uses."""
    return load_data(settings, image_size=learner.image_size, channels=learner.channels)


def announce(dataset: Dataset) -> None:
    """Say what the user has to know about the data, and which flags have no effect on them.

    The first command that reads these data shows the notices, and so does --dry_run. A later
    command says in one line that there are some.
    """
    report_unused(_find_unused_by_data(dataset))
    mark = _find_mark(dataset)
    if mark.exists() and not _is_dry_run():
        how = "--dry_run" if "dry_run" in FLAGS else "--dry_run of a training"
        say(
            f"Data: {printable(dataset.name)}. An earlier command has shown the notices about "
            f"these data ({len(dataset.notices)}); {how} shows them again."
        )
        return
    for notice in dataset.notices:
        say(printable(notice))  # one line each, for any names in it
    if dataset.notices and distributed.leads() and get_cache_dir() == Path(FLAGS.cache_dir):
        mark.parent.mkdir(parents=True, exist_ok=True)
        mark.touch()


def _find_mark(dataset: Dataset) -> Path:
    """Return the file that is there once the notices about these data have been shown."""
    shown = hashlib.sha256("\n".join([dataset.fingerprint, *dataset.notices]).encode())
    return get_cache_dir() / "notices" / shown.hexdigest()[:32]


def _is_dry_run() -> bool:
    return "dry_run" in FLAGS and bool(FLAGS.dry_run)


def print_configuration(configuration: Any) -> None:
    """Print the output of --dry_run as JSON: nothing else is on standard output."""
    stream = _OUTPUT[-1] if _OUTPUT else sys.stdout
    # Flushed here: at its end, Python flushes only the current `sys.stdout`.
    print(json.dumps(configuration, indent=2), file=stream, flush=True)


def describe_command() -> str:
    """Return the command of this process, so that a user can repeat it."""
    if is_installed_command():
        return shlex.join(["jaxgan", Path(sys.argv[0]).stem.replace("_", "-"), *sys.argv[1:]])
    return shlex.join(["python", *sys.argv])


def describe_origin() -> dict[str, str]:
    """Return the notes of a run: its command, the current folder, and its data."""
    folder = Path(FLAGS.data_dir).resolve() if FLAGS.data_dir else None
    data = str(folder or FLAGS.dataset or "the phantom")
    return {"command": describe_command(), "folder": str(Path.cwd()), "data": data}


def _keep_programs() -> None:
    """Keep compiled programs for all launchers, unless the user has set this in JAX."""
    if "cache_dir" in FLAGS and jax.config.values.get("jax_compilation_cache_dir") is None:
        jax.config.update("jax_compilation_cache_dir", str(get_cache_dir() / "xla"))
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)


def ask_for_devices() -> None:
    """Ask for virtual CPU devices if several devices are requested."""
    if FLAGS.num_devices > 1:
        # This concerns only the CPU: with GPUs, `jax.devices` returns these.
        jax.config.update("jax_num_cpu_devices", FLAGS.num_devices)


def join_processes() -> None:
    """Connect to the run's other processes, if there are any."""
    place = distributed.find_place(FLAGS.coordinator, FLAGS.num_processes, FLAGS.process_id)
    if place is not None and not FLAGS.dry_run:
        distributed.join(place)
        if not distributed.leads():
            say(
                f"Process {place.process_id} of {place.num_processes}: computing for process 0, "
                "which prints and writes everything."
            )
            sys.stdout = Path(os.devnull).open("w")  # noqa: SIM115 (until the process ends)


def override(config: ConfigDict, **values: Any) -> None:
    """Set the fields of a config for which a flag was given."""
    for name, value in values.items():
        if value is not None:
            config[name] = value


def override_data(config: ConfigDict) -> ConfigDict:
    """Return a config with the flags for the images' appearance in its group `data`.

    So the record has them. A window on the command line replaces a range in the config, and the
    reverse.
    """
    if FLAGS.window and FLAGS.value_range is None:
        config.data.value_range = AUTO
    if FLAGS.value_range and FLAGS.window is None:
        config.data.window = ""
    override(config.data, fit=FLAGS.fit, value_range=FLAGS.value_range, window=FLAGS.window)
    return config


def read_appearance_flags() -> dict[str, Any]:
    """Return `fit` and `view` from the data flags, for a command without a config."""
    view = parse_view(FLAGS.value_range or AUTO, FLAGS.window or "")
    return {"fit": FLAGS.fit or FITS[0], "view": view}


def find_changed() -> list[str]:
    """Return the given values that are not the default: `--FLAG`, and `config.FIELD`."""
    changed = [
        f"--{name}"
        for name in FLAGS
        if not name.startswith("config") and FLAGS[name].present
        if FLAGS[name].value != FLAGS[name].default
    ]
    if "config" not in FLAGS:
        return changed
    # The config's file and variant, without values from the command line.
    original = _load_config(config_flags.get_config_filename(FLAGS["config"])).to_dict()
    given = config_flags.get_override_values(FLAGS["config"])
    fields = [name for name, value in given.items() if value != _look_up(original, name)]
    return [*changed, *(f"config.{name}" for name in fields)]


def _load_config(name: str) -> ConfigDict:
    file, _, variant = name.partition(":")
    get_config = runpy.run_path(file)["get_config"]
    config: ConfigDict = get_config(variant) if variant else get_config()
    return config


def _look_up(values: Any, name: str) -> Any:
    for part in name.split("."):
        values = values[part]
    return values


def refuse_unused(*unused: Unused) -> None:
    """Raise `UserError` if a given value has no effect."""
    check_unused(find_changed(), functools.reduce(operator.or_, map(dict, unused)))


def report_unused(*unused: Unused) -> None:
    """Say which given values have no effect: a run that began with them must still continue."""
    found = describe_unused(find_changed(), functools.reduce(operator.or_, map(dict, unused)))
    if found is not None:
        say(found)


def _find_unused_by_data(dataset: Dataset) -> dict[str, str]:
    """Return the data flags and fields without effect on the loaded data."""
    unused: dict[str, str] = {}
    reasons: dict[str, str] = {}
    if FLAGS.data_dir or FLAGS.dataset:
        reason = f"the images are from {dataset.name}, not from the phantom"
        reasons |= {"phantom_seed": reason, "phantom_subtlety": reason}
    if not FLAGS.data_dir and not FLAGS.dataset:
        unused |= dict.fromkeys(DATA_FLAGS, "the images are from the phantom")
    elif not FLAGS.data_dir:
        unused |= dict.fromkeys(_OF_FOLDERS, "--data_dir is not given")
    if not dataset.val_was_made:
        reasons["val_fraction"] = reason = f"{dataset.name} has its own validation split"
        if not _calibrates():
            reasons["split_seed"] = reason
    groups = ("config.data", "config.train.data")
    return {**unused, **{f"{group}.{name}": r for group in groups for name, r in reasons.items()}}


def _calibrates() -> bool:
    """Whether a run also splits its training images with the same seed."""
    if "config" not in FLAGS:  # a command that reads a run: the run's settings may say so
        return True
    return "selection" in FLAGS.config and FLAGS.config.selection.rule == "calibrated"


def choose_workdir() -> Path:
    """Return --workdir; a temporary folder for a process that does not lead."""
    if distributed.leads():
        return Path(FLAGS.workdir)
    folder = Path(tempfile.mkdtemp(prefix="jaxgan-"))
    distributed.at_end(functools.partial(shutil.rmtree, folder, ignore_errors=True))
    return folder


def run(main: Callable[[], None]) -> None:
    """Parse the flags and run; a user mistake gives one line on standard error and exit code 2."""
    streams.outlive_readers()
    app.run(lambda _: _run_main(main), flags_parser=_parse_flags)


def _parse_flags(argv: list[str]) -> list[str]:
    if helping.is_asked(argv[1:]):
        helping.print_help(FLAGS)
        sys.exit(0)
    with _reporting_mistakes():
        argv = [_resolve_config(argument) for argument in argv]
        _check_config_file(argv)
        rest = FLAGS(argv)
        for name in set(paths.FLAGS) & set(FLAGS):
            _resolve_path(name)
    if len(rest) > 1:
        _fail(f"{rest[1]!r} is not a flag: give every argument as --NAME=VALUE.")
    return rest


@contextlib.contextmanager
def _reporting_mistakes() -> Iterator[None]:
    try:
        yield
    except (flags.Error, LookupError, AttributeError, TypeError, ValueError, OSError) as error:
        _fail(_summarise(error))


def _resolve_config(argument: str) -> str:
    name, equals, value = argument.partition("=")
    if name.lstrip("-") != "config" or not value:
        return argument
    return f"{name}{equals}{_find_config(paths.resolve('config', value))}"


def _find_config(value: str) -> str:
    """Return the path of a config: in this folder, or otherwise one that comes with jaxgan."""
    file = value.partition(":")[0]
    is_shipped = not Path(file).is_file() and (ROOT / file).is_file()
    return str(ROOT / value) if is_shipped else value


def _resolve_path(name: str) -> None:
    """Set a flag to its resolved path."""
    value = FLAGS[name].value
    if isinstance(value, list):  # a flag that can be given several times
        FLAGS[name].value = [paths.resolve(name, text) for text in value]
    elif value:
        FLAGS[name].value = paths.resolve(name, value)
    elif name == "cache_dir":
        raise ValueError("This user has no home folder for prepared data: give --cache_dir=DIR.")


def _check_config_file(argv: list[str]) -> None:
    for argument in argv:
        name, _, value = argument.lstrip("-").partition("=")
        if name == "config" and value and not Path(value.split(":")[0]).is_file():
            _fail(
                f"There is no config file {value.split(':')[0]}: expected --config=FILE.py or "
                "FILE.py:VARIANT, for example configs/dcgan.py:quick."
            )


def _check_fields(argv: list[str], default: str | None) -> None:
    """Stop at a field that has another place in the config, or is a group; say what to give."""
    with _reporting_mistakes():
        argv = [_resolve_config(argument) for argument in argv[1:]]
    given = [argument.lstrip("-").partition("=") for argument in argv]
    names = [name.removeprefix("config.") for name, _, _ in given if name.startswith("config.")]
    files = [default or "", *(value for name, _, value in given if name == "config")]
    if not names or not Path(files[-1].partition(":")[0]).is_file():
        return
    with _reporting_mistakes():
        config = _load_config(files[-1]).to_dict()
    for name in names:
        if (mistake := _describe_field(config, name)) is not None:
            _fail(mistake)


def _describe_field(config: dict[str, Any], name: str) -> str | None:
    """Return a sentence if `name` is a group, or a field at another place; otherwise None.

    For other names, the error of the config itself suggests the most similar field.
    """
    fields = flatten(config)
    if name in fields or any(name.startswith(f"{field}.") for field in fields):
        return None
    within = [field for field in fields if field.startswith(f"{name}.")]
    if within:
        names = [field.removeprefix(f"{name}.").partition(".")[0] for field in within]
        return (
            f"config.{name} is a group of settings, {list_some(dict.fromkeys(names))}: give each "
            f"of them, for example --config.{within[0]}=VALUE."
        )
    head, _, rest = name.partition(".")
    renamed = [_RENAMED.get(name), *(f"{g}.{rest}" for g in _RENAMED_GROUPS.get(head, ()))]
    same_name = [field for field in fields if field.rpartition(".")[2] == name.rpartition(".")[2]]
    found = [field for field in renamed if field in fields][:1] or same_name
    places = " or ".join(f"config.{field}" for field in found)
    return f"There is no setting config.{name}: it is {places}." if found else None


def _summarise(error: Exception) -> str:
    """Return one line; if a flag's message contains a traceback, the last line of it."""
    while error.args and isinstance(error.args[0], Exception):  # one error inside another
        error = error.args[0]
    message = str(error.args[0]) if error.args else str(error)
    lines = [line.strip() for line in message.splitlines() if line.strip()]
    if any(line.startswith("Traceback") for line in lines):
        return lines[-1].partition(": ")[2]
    if isinstance(error, LookupError) and lines and lines[0].startswith("'"):
        return " ".join([f"There is no setting {lines[0]}.", *lines[1:]])
    return " ".join(lines)


def _run_main(main: Callable[[], None]) -> None:
    if not any("verbosity" in argument for argument in sys.argv):
        logging.set_verbosity(logging.WARNING)  # orbax and TFDS log very much
        _report_once()
    if _is_dry_run():  # a program that reads the JSON needs no sentences
        _OUTPUT.append(sys.stdout)
        sys.stdout = sys.stderr
    _set_numbers()
    _keep_programs()
    if _EFFORT and not FLAGS["config"].present:
        say(_EFFORT[0])
    with distributed.parting():
        _run_to_exit_code(main)


def _set_numbers() -> None:
    """Set the values of JAX that jaxgan is tested with, and ignore the environment's."""
    found = [name for name, value in _NUMBERS.items() if getattr(jax.config, name) != value]
    for name in found:
        jax.config.update(name, _NUMBERS[name])
    if found:
        names = ", ".join(name.upper() for name in sorted(found))
        say(f"{names} of the environment would change all numbers and is ignored.")


def _report_once() -> None:
    """Stop orbax's threads from also reporting a failed save: jaxgan raises and reports it."""
    logging.get_absl_logger().addFilter(lambda record: "orbax" not in record.pathname)

    def report(unraisable: Any) -> None:
        # After a failed write has closed the event loop, tensorstore's other writes still end.
        if "Event loop is closed" not in str(unraisable.exc_value):
            sys.__unraisablehook__(unraisable)

    sys.unraisablehook = report


def _run_to_exit_code(main: Callable[[], None]) -> None:
    try:
        _check_places()
        main()
    except UserError as error:
        _fail(str(error), error.exit_code)
    except Stopped as stopped:
        print(stopped)
        distributed.part()  # all have stopped at the same step
        sys.exit(128 + stopped.signal_number)
    except KeyboardInterrupt:
        print("Stopped. The same command goes on from the last checkpoint, if there is one.")
        sys.exit(128 + signal.SIGINT)
    except Exception as error:
        known = find_refusal(error) or find_memory_error(error) or _find_platform_error()
        if known is None:
            raise
        _fail(str(known), known.exit_code)


def _find_platform_error() -> UserError | None:
    """Return the error of `_check_platform`, for commands that load no data."""
    try:
        _check_platform()
    except UserError as error:
        return error
    return None


def _check_platform() -> None:
    """Raise `UserError` if JAX does not find the devices that it was set to use."""
    wanted = getattr(jax.config, "jax_platforms", None)
    if not wanted:
        return
    try:
        jax.devices()
    except (RuntimeError, AssertionError):  # CUDA raises the latter, without a message
        raise UserError(
            f"JAX_PLATFORMS is {wanted!r}, but JAX finds no such devices here: unset it, or set it "
            "to cpu. GPUs need pip install 'jaxgan[cuda13]' and a driver."
        ) from None


def _fail(sentence: str, exit_code: int = UserError.exit_code) -> Any:
    print(f"Error: {printable_lines(sentence)}", file=sys.stderr)
    sys.exit(exit_code)
