"""Every flag of every launcher: given, it changes what is asked of the library, or is named.

Launchers run here in this process, on a library that notes what it is asked and does nothing.
"""

import importlib.util
import sys
from pathlib import Path

import pytest
from absl import app, flags, logging  # noqa: F401

from jaxgan.core.errors import UserError

# Imported before the flags are counted: the libraries below have flags of their own.
from jaxgan.experiments import (
    train_classifier,  # noqa: F401
)
from jaxgan.study import coverage, page  # noqa: F401
from tests.helpers import make_dataset, make_dcgan_settings

# ml_collections loads configs by what Python will do without one day.
pytestmark = pytest.mark.filterwarnings("ignore:the load_module:DeprecationWarning")
LAUNCH = Path(__file__).resolve().parents[1] / "launch"
FLAGS = flags.FLAGS

MLP, GMD = (f"--config={LAUNCH.parent / 'configs' / name}" for name in ("mlp.py", "gmd.py"))
# Launchers that are another one with a default config: what they call is that one's.
NAMED = {"train_dcgan": "train_gan", "train_gmd": "train_classifier"}
RULERS = ["load_run", "load_folders", "compare_rules", "evaluate"]
READERS = ["show_run", "show_folder", "read_generated", "report_readers"]
# A launcher, what is given in every try, and what of the library is only noted.
WAYS = {
    "train_dcgan": ("train_dcgan", ["--class=left"], ["train_gan"]),
    "train_gan": ("train_gan", ["--class=left", MLP], ["train_gan"]),
    "train_dcgan conditional": (
        "train_dcgan",
        ["--class=all", "--conditional"],
        ["train_conditional"],
    ),
    "train_gmd": ("train_gmd", [], ["train_classifier"]),
    "train_classifier": ("train_classifier", [GMD], ["train_classifier"]),
    "train_gmd augmented": ("train_gmd", ["--augment"], ["train_classifier"]),
    "sample": ("sample", ["--class=left", "--out=somewhere"], ["sample_run"]),
    "sample accepted": (
        "sample",
        ["--class=left", "--out=somewhere", "--accept=paper_text"],
        ["sample_run"],
    ),
    "sample kept": ("sample", ["--class=left", "--keep"], ["sample_run", "keep_images"]),
    "evaluate a run": ("evaluate", ["--class=left"], RULERS),
    "evaluate folders": (
        "evaluate",
        ["--generated=a", "--against=b"],
        RULERS,
    ),
    "evaluate rules": ("evaluate", ["--class=left", "--selection"], RULERS),
    "predict": ("predict", ["--run=a", "--images=b"], ["predict_files", "report_predictions"]),
    "export": ("export", ["--run=a", "--out=b"], ["export_run"]),
    "reader study of a run": ("reader_study", ["--run=a", "--out=b"], READERS),
    "reader study of a folder": ("reader_study", ["--generated=a", "--out=b"], READERS),
    "reader study's answers": ("reader_study", ["--answers=a,b"], READERS),
    "study": ("study", [], ["run_study"]),
    "ablate": ("ablate", [], ["run_ablation", "run_all_classes"]),
    "coverage": ("coverage", [], ["run_coverage", "write_json", "format_coverage"]),
    "simulate": ("simulate", [], ["run_simulations", "format_simulations", "write_json"]),
}
# Another value than the default. Two ways of naming data exclude each other.
OTHERS = {
    "class": "right",
    "data_dir": "a_folder",
    "dataset": "a_set",
    "workdir": "another",
    "generated": "c",
    "against": "d",
    "num_images": 8,
}
# Of every launcher: how and not what, or told to the operating system; the config has its own test.
ELSEWHERE = {"config", "dry_run", "coordinator", "num_processes", "process_id"}
# What only a folder of the user's has a use for is refused by the library without one.
OF_FOLDERS = {
    "patient_column",
    "patient_pattern",
    "patients_from",
    "label_column",
    "leave_out",
    "source_column",
    "on_bad_image",
    "follow_links",
}


WITHOUT_DATA = (
    *("evaluate folders", "export", "predict", "sample", "sample accepted"),
    "reader study's answers",
)


@pytest.fixture
def launch(monkeypatch, capsys):
    """Return the function that runs a launcher with flags; it returns what was asked, and said."""
    before = set(FLAGS)
    monkeypatch.syspath_prepend(str(LAUNCH))

    def run(launcher, given, noted):
        forget_flags(before)
        forget_launchers()
        monkeypatch.setattr(sys, "argv", [f"{launcher}.py", *given])  # the config's flag reads it
        calls = run.calls = []
        module = load(launcher)
        for name in noted:
            monkeypatch.setattr(module, name, note(name, calls))
        if hasattr(module, "read_run_settings"):
            monkeypatch.setattr(module, "read_run_settings", lambda run: make_dcgan_settings())
        for name in ("check_complete", "read_sources"):
            if hasattr(module, name):
                monkeypatch.setattr(module, name, note(name, calls))
        monkeypatch.setattr(module.cli, "load_dataset", note("load_dataset", calls, make_dataset()))
        monkeypatch.setattr(module.cli.jax.config, "update", note("jax.config", calls))
        FLAGS(sys.argv)
        capsys.readouterr()
        module.main()
        return calls, capsys.readouterr().out

    run.others = before
    yield run
    forget_flags(before)
    forget_launchers()


def load(launcher):
    spec = importlib.util.spec_from_file_location(f"launched_{launcher}", LAUNCH / f"{launcher}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    if launcher in NAMED:
        return sys.modules[NAMED[launcher]]
    if launcher in NAMED.values():
        module.define_flags(None, "runs")  # as it does where it is called by its name
    return module


def forget_launchers():
    for name in ("cli", *NAMED.values()):
        sys.modules.pop(name, None)


def forget_flags(before):
    for name in set(FLAGS) - before:
        delattr(FLAGS, name)
    FLAGS.unparse_flags()


def note(name, calls, result=None):
    """A function that only notes how it is called, by what its arguments look like."""

    def noting(*args, **kwargs):
        if name != "jax.config" or args[0] != "jax_persistent_cache_min_compile_time_secs":
            shown = [repr(a) for a in args], {k: repr(v) for k, v in kwargs.items()}
            calls.append((name, *shown))
        return Result(failures=[]) if result is None else result

    return noting


class Result(dict):
    """What any of the noted functions returns, as far as a launcher reads it."""

    data, image_size, channels = make_dcgan_settings().data, 32, 1

    @property
    def report(self):
        return self


def change(name):
    """Return `--NAME=VALUE` with another value than the flag's own."""
    flag = FLAGS[name]
    if name in OTHERS:
        return f"--{name}={OTHERS[name]}"
    if choices := getattr(flag.parser, "enum_values", None):
        return f"--{name}={choices[-1]}"
    if flag.flag_type() == "bool":
        return f"--{name}={not flag.default}"
    return f"--{name}={(flag.default or 0) + 7 if flag.flag_type() in ('int', 'float') else 'x'}"


@pytest.mark.parametrize("way", WAYS)
def test_no_flag_is_ignored_in_silence(way, launch):
    launcher, given, noted = WAYS[way]
    usual, _ = launch(launcher, given, noted)
    assert usual
    names = sorted(set(FLAGS) - launch.others - ELSEWHERE)
    assert len(names) >= 4
    for name in names:
        if any(text.split("=")[0].lstrip("-") == name for text in given):
            continue
        changed = [*given, change(name)]
        if name in OF_FOLDERS and way not in WITHOUT_DATA:
            base, _ = launch(launcher, [*given, "--data_dir=a_folder"], noted)
            changed.append("--data_dir=a_folder")
        else:
            base = usual
        try:
            calls, said = launch(launcher, changed, noted)
        except UserError as error:
            assert f"--{name}" in str(error), f"{changed}: {error}"
        else:
            assert calls != base or f"--{name}" in said, f"{changed} changes nothing"


def test_fields_of_a_config_are_compared_with_its_own_variant(launch):
    quick = "--config=" + str(LAUNCH.parent / "configs" / "study.py:quick")
    noted = WAYS["study"][2]
    for same in ("--config.data.split_seed=0", "--config.data.val_fraction=0.2"):
        assert launch("study", [quick, same], noted)[0]
    with pytest.raises(UserError, match=r"config\.data\.split_seed has no effect"):
        launch("study", [quick, "--config.data.split_seed=10"], noted)
    # What other arms would have a use for is told: the command goes on.
    calls, said = launch("study", [quick, "--config.targets={'covid': 3}"], noted)
    assert calls and "config.targets has no effect: no arm of" in said


def test_a_run_that_goes_on_is_told_and_not_refused(launch):
    given = ["--config.data.val_fraction=0.4", "--config.data.phantom_seed=3", "--data_dir=a"]
    calls, said = launch("train_gmd", given, WAYS["train_gmd"][2])
    assert "train_classifier" in [call[0] for call in calls]
    assert "config.data.val_fraction has no effect: made has its own validation split." in said
    assert "config.data.phantom_seed has no effect: the images are from made" in said


def test_what_concerns_a_folder_alone_is_named_where_a_run_s_images_are_drawn_to_keep(launch):
    way = WAYS["sample kept"]
    calls, said = launch(way[0], [*way[1], "--on_bad_image=skip"], way[2])
    assert "keep_images" in [call[0] for call in calls]
    assert "--on_bad_image has no effect: the images are from the phantom." in said


@pytest.mark.parametrize(
    ("way", "flag"), [("evaluate a run", "json"), ("evaluate rules", "json"), ("simulate", "out")]
)
def test_a_folder_in_the_place_of_a_file_is_refused_before_the_work(way, flag, launch, tmp_path):
    launcher, given, noted = WAYS[way]
    with pytest.raises(
        UserError, match=f"--{flag}={tmp_path} is a folder: expected the name of a file"
    ):
        launch(launcher, [*given, f"--{flag}={tmp_path}"], noted)
    assert launch.calls == []


def test_classes_to_augment_without_augmentation_are_refused_before_data_are_read(launch):
    with pytest.raises(UserError, match="--augment_classes has no effect without --augment"):
        launch("train_gmd", ["--augment_classes=left"], ["train_classifier"])
    assert launch.calls == []


def test_a_study_notes_its_command_and_where_its_data_lie(launch):
    calls, _ = launch("study", ["--data_dir=films"], WAYS["study"][2])
    (options,) = [call[2] for call in calls if call[0] == "run_study"]
    assert "--data_dir=films" in options["notes"] and "'data': " in options["notes"]


def test_a_source_column_is_looked_for_by_a_dry_run_too(launch):
    calls, _ = launch("study", ["--dry_run", "--source_column=site"], WAYS["study"][2])
    assert "read_sources" in [call[0] for call in calls]
    assert "run_study" not in [call[0] for call in calls]


@pytest.mark.parametrize("way", ["train_dcgan", "train_gmd", "study"])
def test_a_dry_run_names_the_flags_that_say_nothing_of_its_data(way, launch):
    launcher, given, noted = WAYS[way]
    _, said = launch(launcher, [*given, "--dry_run", "--on_bad_image=skip"], noted)
    assert "--on_bad_image has no effect: the images are from the phantom." in said
