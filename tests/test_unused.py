"""Every field of every config: another value changes what is computed, or is named."""

import dataclasses
import json
import re
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jaxgan.settings import GmdSettings
from jaxgan.unused import find_unused_by_training

from jaxgan.classifiers import step as classifier
from jaxgan.core.errors import UserError
from jaxgan.core.settings import to_dict
from jaxgan.core.types import Batch
from jaxgan.core.unused import check_unused, describe_unused
from jaxgan.experiments.ablation import find_unused_by_ablation
from jaxgan.experiments.train_classifier import create_model, create_optimizer, train_gmd
from jaxgan.experiments.train_gan import train_gan
from jaxgan.experiments.unused import find_unused_by_run
from jaxgan.gans.dcgan import DcganSettings
from jaxgan.gans.recipe import create_state, create_step
from jaxgan.sampling.selection import RULES
from jaxgan.study import classifiers, coverage, generators
from jaxgan.study import run as study_run
from jaxgan.study.unused import find_unused_by_coverage, find_unused_by_study
from jaxgan.training.jobs import JobRunner
from tests.helpers import make_dataset, make_dcgan_settings, make_gmd_settings, replace
from tests.test_ablation import make_settings as make_ablation
from tests.test_study_run import make_data, make_settings


def test_what_has_no_effect_is_told_by_reason():
    unused = {"config.dcgan": "no GAN", "config.seed": "none", "--num": "none"}
    changed = ["config.dcgan.data.split_seed", "config.seed", "--num", "config.dcganother"]
    assert describe_unused(changed, unused) == (
        "config.dcgan.data.split_seed has no effect: no GAN. config.seed, --num have no effect: "
        "none."
    )
    assert describe_unused(["config.width"], unused) is None
    check_unused(["config.width"], unused)
    with pytest.raises(UserError, match=r"config\.seed has no effect: none\. Leave out"):
        check_unused(["config.seed"], unused)


# A study --------------------------------------------------------------------------------------

ARMS = (
    "real", "classic", "duplicates", "gan", "gan_paper_text", "gan_paper_code", "gan_calibrated",
    "gan_paper_counts",
)  # fmt: skip
# Other values than those of the settings below, where no rule for their type finds a good one.
OTHERS = {
    "dtype": "bfloat16",
    "image_size": 64,
    "gmd.image_size": 32,
    "discriminator_norm": "spectral",
    "objective": "saturating",
    "augment_policy": ("colour",),
    "select_checkpoint": "best",  # which a study refuses by name
    "selection.rule": "none",
    "selection.targets": {"left": 5, "right": 6},
    "padding": "SAME",
    "optimizer": "adam",
    "num_outputs": 3,
    "clip_weights": 0.1,
    "augment_target": 0.6,
    "width": 16,
    "batch_size": 6,
    "epochs_per_dispatch": 2,
    "arms": ARMS[:-1],
    "amounts": (0.5, 1.0, 2.0),
    "amount_arms": ("gan",),
    "num_gan_seeds": 1,
    "pool": 1.5,
    "holdout": 0.4,
    "phantom_subtlety": 0.25,
    "fit": "pad",
    "value_range": "0,100",
    "window": "50,100",
}
# Fields whose other values need another field: `with_field` gives it.
TOGETHER = {
    "dcgan.gradient_penalty_weight": {"discriminator_norm": "none"},
    "dcgan.r1_weight": {"discriminator_norm": "none"},
}
# What loads the data reads these, before a study begins.
LOADED = (
    *("data.phantom_seed", "data.phantom_subtlety"),
    *("data.fit", "data.value_range", "data.window"),
)


def make_study(**changes):
    dcgan = make_dcgan_settings(
        select_checkpoint="newest",
        num_epochs=2,
        batch_size=4,
        selection={"targets": {"left": 7, "right": 8}, "threshold": 0.4, "pool": 4.0},
    )
    values = {"arms": ARMS, "amounts": (0.5, 2.0), "amount_arms": ("duplicates", "gan")}
    values |= {"num_seeds": 2, "num_gan_seeds": 2, "audit": True, "dcgan": dcgan, **changes}
    return make_settings(**values)


def list_fields(settings, path=""):
    """The names of all fields, those of a group behind a dot."""
    for field in dataclasses.fields(settings):
        value = getattr(settings, field.name)
        if dataclasses.is_dataclass(value):
            yield from list_fields(value, f"{path}{field.name}.")
        else:
            yield f"{path}{field.name}"


def change(settings, name):
    """The settings with another value of the field `name`."""
    first, _, rest = name.partition(".")
    value = getattr(settings, first)
    if rest:
        together = TOGETHER.get(name, {})
        return replace(settings, **{first: replace(change(value, rest), **together)})
    return replace(settings, **{first: find_other(settings, name, value)})


def find_other(settings, name, value):
    group = {DcganSettings: "dcgan.", GmdSettings: "gmd."}.get(type(settings), "")
    owner = "selection." if hasattr(settings, "per_epoch") else group
    for key in (f"{owner}{name}", name):
        if key in OTHERS:
            return OTHERS[key]
    if isinstance(value, bool):
        return not value
    return value + 1 if isinstance(value, int) else value / 2 + 0.1


class Noted(Exception):  # noqa: N818 (a job ends with it when all it was asked is known)
    pass


PROGRAMS: dict[str, object] = {}


def trace_program(settings):
    """The steps of these settings, as JAX sees them before it compiles."""
    key = json.dumps(to_dict(settings), sort_keys=True)
    if key not in PROGRAMS:
        trace = trace_gan if isinstance(settings, DcganSettings) else trace_classifier
        PROGRAMS[key] = trace(settings)
    return PROGRAMS[key]


def trace_step(state, step, settings):
    shape = (settings.batch_size, settings.image_size, settings.image_size, settings.channels)
    batch = Batch(jnp.zeros(shape, jnp.uint8), jnp.zeros(shape[:1], jnp.int32))
    return show(jax.make_jaxpr(step)(state, batch, jax.random.key(0)))


def show(jaxpr):
    return re.sub("0x[0-9a-f]+", "", str(jaxpr))  # where something lies in memory


def trace_gan(settings):
    make = jax.make_jaxpr(lambda key: create_state(settings, key))(jax.random.key(0))
    state = jax.eval_shape(lambda key: create_state(settings, key), jax.random.key(0))
    return show(make), trace_step(state, create_step(settings, None), settings)


def trace_classifier(settings):
    model, optimizer = create_model(settings, 2), create_optimizer(settings)
    shape = (settings.image_size, settings.image_size, settings.channels)
    state = jax.eval_shape(
        lambda key: classifier.create_classifier_state(
            key, model=model, optimizer=optimizer, image_shape=shape
        ),
        jax.random.key(0),
    )

    def step(state, batch, key):
        return classifier.train_step(state, batch, key, model=model, optimizer=optimizer)

    return trace_step(state, step, settings)


def draw(settings, *, num):
    """Images that tell which they are, and D's scores of them."""
    shape = (1, settings.image_size, settings.image_size, settings.channels)
    images = np.arange(num, dtype=np.uint8)[:, None, None, None] * np.ones(shape, np.uint8)
    scores = np.linspace(0, 1, num, dtype=np.float32)
    return {"images": images, "scores": scores, "logits": scores}


def note_study(settings, folder, monkeypatch):
    """Return all that a study of these settings computes, without computing it."""
    noted = []

    class NotingTrainer:
        def __init__(self, make_step, **options):
            noted.append(("program", options["batch_size"], options["max_steps"]))

        def train(self, state, images, *, notes, partial, **options):
            noted.append(("train", images.images.tobytes(), images.files, options))
            raise Noted

    class NotingEvaluator:
        def __init__(self, model, batch_size):
            noted.append(("evaluator", batch_size))

    def run(self, job):
        noted.append((job.kind, job.name))
        if job.kind == "images":
            noted.append(job.compute.args[1:])
            return draw(settings.dcgan, num=job.compute.args[2])
        monkeypatch.setattr(job.compute.func.__self__, "_create_state", lambda key: None)
        with pytest.raises(Noted):
            job.compute(folder / "partial")
        if job.kind != "generator":
            return {"probabilities": np.zeros((1, 2))}
        code = draw(settings.dcgan, num=2)["images"]
        return {"record": np.array("r"), "code_images": code, "held_logits": np.arange(4.0)}

    monkeypatch.setattr(generators, "Trainer", NotingTrainer)
    monkeypatch.setattr(classifiers, "Trainer", NotingTrainer)
    monkeypatch.setattr(classifiers, "Evaluator", NotingEvaluator)
    monkeypatch.setattr(JobRunner, "run", run)
    results = study_run.run_jobs(
        settings,
        dataset=make_data(size=settings.gmd.image_size),
        gan_dataset=make_data(size=settings.dcgan.image_size),
        workdir=folder,
        num_devices=1,
    )
    noted += [vars(failure) for failure in results.failures]
    loaded = [getattr(settings.data, name.partition(".")[2]) for name in LOADED]
    programs = [trace_program(settings.gmd)]
    if settings.needs_generators:
        programs.append(trace_program(settings.dcgan))
    return [noted, loaded, programs]


def without_effect(name, unused):
    return describe_unused([f"config.{name}"], unused) is not None


SETTINGS = make_study()
FIELDS = [*list_fields(SETTINGS)]
# Tracing a GAN's step takes seconds.
PARAMETERS = [
    pytest.param(name, marks=[pytest.mark.slow] * ("dcgan." in name and "selection" not in name))
    for name in FIELDS
]


@pytest.fixture(scope="module")
def usual(tmp_path_factory):
    with pytest.MonkeyPatch.context() as monkeypatch:
        return note_study(SETTINGS, tmp_path_factory.mktemp("usual"), monkeypatch)


@pytest.mark.parametrize("name", PARAMETERS)
def test_each_field_of_a_study_changes_what_is_computed_or_is_named(
    name, usual, tmp_path, monkeypatch
):
    try:
        settings = change(SETTINGS, name)
        noted = note_study(settings, tmp_path, monkeypatch)
    except UserError as error:
        assert name in str(error) or name.rpartition(".")[2] in str(error)
        return
    base = usual
    if name in TOGETHER:
        together = replace(SETTINGS, dcgan=replace(SETTINGS.dcgan, **TOGETHER[name]))
        base = note_study(together, tmp_path / "together", monkeypatch)
    # What is named has none, and what is not named has one.
    assert (noted == base) == without_effect(name, find_unused_by_study(settings))


# Runs of their own, ablations, coverage --------------------------------------------------------

RECORDS = ("settings.py", "dataclasses.py", "jobs.py", "unused.py")  # what reads all fields
DATA = {f"data.{f.name}" for f in dataclasses.fields(SETTINGS.data)} - {"data.resident_bytes"}


def spy(settings, read, path=""):
    """Settings that note in `read` which fields of theirs are asked for, records apart."""

    class Spied(type(settings)):
        def __getattribute__(self, name):
            caller = sys._getframe(1).f_code.co_filename
            if not caller.endswith(RECORDS):
                read.add(f"{path}{name}")
            return object.__getattribute__(self, name)

    spied = object.__new__(Spied)
    for field in dataclasses.fields(settings):
        value = getattr(settings, field.name)
        if dataclasses.is_dataclass(value):
            value = spy(value, read, f"{path}{field.name}.")
        object.__setattr__(spied, field.name, value)
    return spied


def find_unread(settings, read, unused):
    """The fields that nothing has asked for and that are not named as without effect."""
    unread = [name for name in list_fields(settings) if name not in read]
    return [name for name in unread if not without_effect(name, unused)]


@pytest.mark.slow
@pytest.mark.parametrize("rule", RULES)
def test_a_dcgan_s_run_reads_every_field_that_is_not_named(rule, tmp_path):
    settings, read = make_dcgan_settings(num_epochs=1, selection={"rule": rule}), set()
    dataset = make_dataset()
    train_gan(spy(settings, read), dataset=dataset, class_name="left", workdir=tmp_path)
    assert find_unread(settings, read | DATA | {"num_classes"}, find_unused_by_run(settings)) == []


def test_a_classifier_s_run_reads_every_field_that_is_not_named(tmp_path):
    settings, read = make_gmd_settings(optimizer="adam", num_epochs=1), set()
    dataset = make_dataset(size=24)
    train_gmd(spy(settings, read), dataset=dataset, workdir=tmp_path, synthetic_dir=None)
    unused = find_unused_by_training(settings, augment=False)
    assert find_unread(settings, read | DATA, unused) == [] and "momentum" not in read
    assert without_effect("momentum", unused)
    assert not without_effect(
        "momentum", find_unused_by_training(make_gmd_settings(), augment=True)
    )


def test_coverage_reads_every_field_that_is_not_named(tmp_path, monkeypatch):
    """Of the classifier's it names what a study does."""
    settings, read = make_study(), set()
    monkeypatch.setattr(coverage, "ClassifierLab", lambda gmd, **options: None)
    options = {"num_studies": 1, "films_per_class": 9, "num_fresh": 6, "folder": tmp_path}
    with pytest.raises(UserError, match="No study could be done"):
        coverage.run_coverage(spy(settings, read), **options)
    unused = find_unused_by_coverage(settings)
    unread = find_unread(settings, read, unused)
    assert [name for name in unread if not name.startswith("gmd.")] == []
    for name in ("num_folds", "num_seeds", "num_updates", "data.phantom_subtlety", "gmd.width"):
        assert not without_effect(name, unused)
    for name in find_unused_by_study(settings):
        assert not name.startswith("config.gmd.") or name in unused


def test_an_ablation_names_what_its_variants_leave_without_effect():
    settings = make_ablation(dcgan=make_dcgan_settings(diffaugment=False))
    unused = find_unused_by_ablation(settings)
    for name in ("selection.rule", "look_every_epochs", "augment_policy", "augment_ramp_images"):
        assert without_effect(f"dcgan.{name}", unused)
    assert not without_effect("dcgan.num_epochs", unused)
    augmented = make_ablation(variants={"all": {}, "none": {"diffaugment": False}})
    assert not without_effect("dcgan.augment_policy", find_unused_by_ablation(augmented))
