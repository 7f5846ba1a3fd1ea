"""What the launchers share: common flags, and mistakes told in one line."""

import huge_pages
import installed

huge_pages.use_huge_pages()
installed.check_installed()

import functools
import os
import shlex
import shutil
import signal
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
from absl import app, flags, logging
from ml_collections import ConfigDict, config_flags

from jaxgan import distributed
from jaxgan.console import say
from jaxgan.data.fit import FITS
from jaxgan.data.folder import PATIENTS_FROM
from jaxgan.data.sets import Dataset
from jaxgan.data.source import DataSpec, load_dataset
from jaxgan.data.values import AUTO, parse_view
from jaxgan.errors import UserError, find_memory_error, find_refusal
from jaxgan.loop import Stopped
from jaxgan.settings import DataSettings
from jaxgan.untrusted import printable, printable_lines

ROOT = Path(__file__).resolve().parents[1]
FLAGS = flags.FLAGS


def define_data_flags() -> None:
    """Define the flags that say which images to use."""
    flags.DEFINE_string("data_dir", None, "Folder of images; see the README. Default: the phantom.")
    flags.DEFINE_string(
        "dataset", None, "Name of an image-classification set of the TFDS catalogue."
    )
    flags.DEFINE_string("patient_column", None, "Column of manifest.csv that tells patients apart.")
    flags.DEFINE_string(
        "patient_pattern",
        None,
        "Regular expression that finds the patient in an image's path below its class.",
    )
    flags.DEFINE_enum(
        "patients_from",
        "auto",
        PATIENTS_FROM,
        "What tells whose an image is: the first of table, DICOM headers and folders that does, or "
        "that one alone, or nothing.",
    )
    flags.DEFINE_string(
        "label_column", None, "Column of manifest.csv, or of labels.csv, that tells the classes."
    )
    flags.DEFINE_bool("follow_links", False, "Follow links that lead out of --data_dir.")
    flags.DEFINE_list(
        "leave_out", [], "Files and folders of --data_dir that are no data, such as masks."
    )
    flags.DEFINE_enum(
        "on_bad_image",
        "error",
        ["error", "skip"],
        "Images of --data_dir that cannot be used: an error that lists them all, or go without "
        "them and note it in config.json.",
    )
    flags.DEFINE_enum(
        "fit",
        None,
        FITS,
        "How images that are not square are made so: the centre cut out, black margins, or pressed "
        "together. Default: the config's, which is crop.",
    )
    flags.DEFINE_string(
        "value_range",
        None,
        "LOW,HIGH: the values of images of more than 8 bits that are shown as black and white; or "
        "auto, their own window, else one range for the whole data set. Default: the config's.",
    )
    flags.DEFINE_string(
        "window", None, "CENTER,WIDTH: the same as a DICOM window. Default: the config's, none."
    )
    flags.DEFINE_string(
        "cache_dir", str(Path.home() / ".cache" / "jaxgan"), "Where prepared data are kept."
    )


def define_run_flags(config_file: str) -> None:
    """Define the flags of a training: its config, its devices."""
    config_flags.DEFINE_config_file("config", str(ROOT / config_file), "FILE.py[:VARIANT].")
    flags.DEFINE_integer("num_devices", 0, "Devices to use, of every process; 0: all.")
    flags.DEFINE_bool("dry_run", False, "Print the resolved configuration and stop.")


def define_process_flags() -> None:
    """Define the flags of a run that several processes share."""
    flags.DEFINE_string(
        "coordinator", None, "Of several processes: HOST:PORT, process 0's machine and a free port."
    )
    flags.DEFINE_integer("num_processes", None, "How many processes, one a machine, are one run.")
    flags.DEFINE_integer("process_id", None, "This process's number, from 0; 0 writes the run.")


def load_data(settings: DataSettings, *, image_size: int, channels: int) -> Dataset:
    """Load what the data flags name, as the config's data settings split and draw it."""
    spec = DataSpec(
        data_dir=Path(FLAGS.data_dir) if FLAGS.data_dir else None,
        dataset=FLAGS.dataset,
        patient_column=FLAGS.patient_column,
        patient_pattern=FLAGS.patient_pattern,
        patients_from=FLAGS.patients_from,
        label_column=FLAGS.label_column,
        follow_links=FLAGS.follow_links,
        leave_out=tuple(FLAGS.leave_out),
        skip_bad_images=FLAGS.on_bad_image == "skip",
        fit=settings.fit,
        value_range=settings.value_range,
        window=settings.window,
        val_fraction=settings.val_fraction,
        split_seed=settings.split_seed,
        phantom_seed=settings.phantom_seed,
        phantom_subtlety=settings.phantom_subtlety,
    )
    cache_dir = Path(FLAGS.cache_dir)
    with distributed.leader_first():
        return load_dataset(spec, image_size=image_size, channels=channels, cache_dir=cache_dir)


def announce(dataset: Dataset) -> None:
    """Say what has to be said of the data."""
    for notice in dataset.notices:
        say(printable(notice))  # one line each, whatever the names in it


def describe_command() -> str:
    """Return the command of this process, to be repeated."""
    return shlex.join(["python", *sys.argv])


def use_devices() -> None:
    """Set JAX up: a compilation cache on disk, virtual CPU devices where several are asked for."""
    jax.config.update("jax_compilation_cache_dir", str(Path(FLAGS.cache_dir) / "xla"))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
    if FLAGS.num_devices > 1:
        # Concerns the CPU alone: where there are GPUs, they are what `jax.devices` returns.
        jax.config.update("jax_num_cpu_devices", FLAGS.num_devices)


def join_processes() -> None:
    """Meet the run's other processes, where there are any."""
    place = distributed.find_place(FLAGS.coordinator, FLAGS.num_processes, FLAGS.process_id)
    if place is not None and not FLAGS.dry_run:
        distributed.join(place)
        if not distributed.leads():
            say(
                f"Process {place.process_id} of {place.num_processes}: computing for process 0, "
                "which says and writes everything."
            )
            sys.stdout = Path(os.devnull).open("w")  # noqa: SIM115 (until the process ends)


def override(config: ConfigDict, **values: Any) -> None:
    """Set the fields of a config for which a flag was given."""
    for name, value in values.items():
        if value is not None:
            config[name] = value


def override_data(config: ConfigDict) -> None:
    """Set what the data flags say of the images' look in a config's group `data`, for the record.

    A range in the config gives way to a window on the command line, and the reverse.
    """
    if FLAGS.window and FLAGS.value_range is None:
        config.value_range = AUTO
    if FLAGS.value_range and FLAGS.window is None:
        config.window = ""
    override(config, fit=FLAGS.fit, value_range=FLAGS.value_range, window=FLAGS.window)


def refuse_look_flags(run: Path) -> None:
    """Refuse what would show a run other images than those that it has learned from."""
    given = [name for name in ("fit", "value_range", "window") if FLAGS[name].value is not None]
    if given:
        flag = f"--{given[0]}={FLAGS[given[0]].value}"
        raise UserError(
            f"{flag} was given, and the run {run} says itself how its images are shown: leave it "
            "out. It is for folders, with --generated and --against."
        )


def read_look_flags() -> dict[str, Any]:
    """Return `fit` and `view` as the data flags ask for them, where there is no config."""
    view = parse_view(FLAGS.value_range or AUTO, FLAGS.window or "")
    return {"fit": FLAGS.fit or FITS[0], "view": view}


def choose_workdir() -> Path:
    """Return --workdir; for a process that writes for nobody, a folder that goes with it."""
    if distributed.leads():
        return Path(FLAGS.workdir)
    folder = Path(tempfile.mkdtemp(prefix="jaxgan-"))
    distributed.at_end(functools.partial(shutil.rmtree, folder, ignore_errors=True))
    return folder


def run(main: Callable[[], None]) -> None:
    """Parse the flags and run; a user's mistake is one line on standard error and exit code 2."""
    app.run(lambda _: _run_main(main), flags_parser=_parse_flags)


def _parse_flags(argv: list[str]) -> list[str]:
    _check_config_file(argv)
    try:
        rest = FLAGS(argv)
    except (flags.Error, LookupError, AttributeError, TypeError, ValueError, OSError) as error:
        _fail(_summarise(error))
    if len(rest) > 1:
        _fail(f"{rest[1]!r} is not a flag: every argument is given as --NAME=VALUE.")
    return rest


def _check_config_file(argv: list[str]) -> None:
    for argument in argv:
        name, _, value = argument.lstrip("-").partition("=")
        if name == "config" and value and not Path(value.split(":")[0]).is_file():
            _fail(
                f"There is no config file {value.split(':')[0]}: expected --config=FILE.py or "
                "FILE.py:VARIANT, as configs/dcgan.py:quick."
            )


def _summarise(error: Exception) -> str:
    """Return one line; of a traceback that a flag's message carries along, what it ends with."""
    message = str(error.args[0]) if error.args else str(error)
    lines = [line.strip() for line in message.splitlines() if line.strip()]
    if any(line.startswith("Traceback") for line in lines):
        return lines[-1].partition(": ")[2]
    return " ".join(lines)


def _run_main(main: Callable[[], None]) -> None:
    if not any("verbosity" in argument for argument in sys.argv):
        logging.set_verbosity(logging.WARNING)  # orbax and TFDS tell a great deal
        _tell_once()
    with distributed.parting():
        _run_to_exit_code(main)


def _tell_once() -> None:
    """Keep a failed save, which is raised and told, from being told by orbax's threads as well."""
    logging.get_absl_logger().addFilter(lambda record: "orbax" not in record.pathname)

    def tell(unraisable: Any) -> None:
        # tensorstore's other writes end after the one that failed has closed their event loop.
        if "Event loop is closed" not in str(unraisable.exc_value):
            sys.__unraisablehook__(unraisable)

    sys.unraisablehook = tell


def _run_to_exit_code(main: Callable[[], None]) -> None:
    try:
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
        if (told := find_refusal(error) or find_memory_error(error)) is None:
            raise
        _fail(str(told), told.exit_code)


def _fail(sentence: str, exit_code: int = UserError.exit_code) -> Any:
    print(f"Error: {printable_lines(sentence)}", file=sys.stderr)
    sys.exit(exit_code)
