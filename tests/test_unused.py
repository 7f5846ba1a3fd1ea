"""Every field of every config: another value changes what is computed, or is named."""

import dataclasses
import json
import re
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgan.classifiers.step import create_classifier_state, train_step
from jaxgan.core.errors import UserError
from jaxgan.core.settings import to_dict
from jaxgan.core.types import Batch
from jaxgan.core.unused import check_unused, describe_unused
from jaxgan.evaluation.fidelity import list_rulers
from jaxgan.experiments.ablation import find_unused_by_ablation
from jaxgan.experiments.train_classifier import train_classifier
from jaxgan.experiments.train_gan import train_gan
from jaxgan.experiments.unused import find_unused_by_run, find_unused_by_training
from jaxgan.networks.optimizers import OptimizerSettings
from jaxgan.sampling.selection import RULES
from jaxgan.study import classifiers, coverage, generators
from jaxgan.study import run as study_run
from jaxgan.study.unused import find_unused_by_coverage, find_unused_by_study
from jaxgan.training.jobs import JobRunner
from tests.helpers import make_dataset, make_dcgan_settings, make_gmd_settings, replace
from tests.test_ablation import make_settings as make_ablation
from tests.test_study_run import make_data, make_settings


def test_what_has_no_effect_is_told_by_reason():
    unused = {"config.gan": "no GAN", "config.seed": "none", "--num": "none"}
    changed = ["config.gan.ema_decay", "config.seed", "--num", "config.ganother"]
    assert describe_unused(changed, unused) == (
        "config.gan.ema_decay has no effect: no GAN. config.seed, --num have no effect: none."
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
    "gan.image_size": 64,
    "classifier.image_size": 32,
    "gan.discriminator_norm": "spectral",
    "gan.objective": "saturating",
    "gan.augment_policy": ("colour",),
    "gan.clip_weights": 0.1,
    "gan.augment_target": 0.6,
    "classifier.padding": "SAME",
    "classifier.num_outputs": 3,
    "classifier.width": 16,
    "optimizer.name": "adam",
    "optimizer.schedule.name": "cosine",
    "gan.schedule.name": "cosine",
    "transfer.weights": "none.pth",
    "transfer.frozen": "features",
    "targets": {"left": 5, "right": 6},
    "batch_size": 6,
    "gan_batch_size": 6,
    "arms": ARMS[:-1],
    "amounts": (0.5, 1.0, 2.0),
    "amount_arms": ("gan",),
    "num_gan_seeds": 1,
    "pool": 1.5,
    "holdout": 0.4,
    "data.phantom_subtlety": 0.25,
    "data.fit": "pad",
    "data.value_range": "0,100",
    "data.window": "50,100",
}
# Fields whose other values need another field, of the same group.
TOGETHER = {
    "gan.gradient_penalty_weight": {"discriminator_norm": "none"},
    "gan.r1_weight": {"discriminator_norm": "none"},
    "gan.r2_weight": {"discriminator_norm": "none"},
}
# What loads the data reads these, before a study begins.
LOADED = (
    *("data.phantom_seed", "data.phantom_subtlety"),
    *("data.fit", "data.value_range", "data.window"),
)


def make_study(**changes):
    values = {"arms": ARMS, "amounts": (0.5, 2.0), "amount_arms": ("duplicates", "gan")}
    values |= {"num_seeds": 2, "num_gan_seeds": 2, "audit": True, "pool": 4.0}
    values |= {"targets": {"left": 7, "right": 8}, "threshold": 0.4}
    return make_settings(**{**values, **changes})


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
    *groups, field = name.split(".")
    owners = [settings]
    for group in groups:
        owners.append(getattr(owners[-1], group))
    changes = {**TOGETHER.get(name, {}), field: find_other(name, getattr(owners[-1], field))}
    for owner, group in zip(owners[:0:-1], groups[::-1], strict=True):
        changes = {group: replace(owner, **changes)}
    return replace(settings, **changes)


def find_other(name, value):
    for key in (name, name.rpartition(".")[2]):
        if key in OTHERS:
            return OTHERS[key]
    if isinstance(value, bool):
        return not value
    return value + 1 if isinstance(value, int) else value / 2 + 0.1


class Noted(Exception):  # noqa: N818 (a job ends with it when all it was asked is known)
    pass


PROGRAMS: dict[str, object] = {}


def trace_once(trace, *settings):
    """The steps of these settings, as JAX sees them before it compiles."""
    key = json.dumps([to_dict(s) if dataclasses.is_dataclass(s) else s for s in settings])
    if key not in PROGRAMS:
        PROGRAMS[key] = trace(*settings)
    return PROGRAMS[key]


def trace_step(state, step, settings, batch_size):
    shape = (batch_size, settings.image_size, settings.image_size, settings.channels)
    batch = Batch(jnp.zeros(shape, jnp.uint8), jnp.zeros(shape[:1], jnp.int32))
    return show(jax.make_jaxpr(step)(state, batch, jax.random.key(0)))


def show(jaxpr):
    return re.sub("0x[0-9a-f]+", "", str(jaxpr))  # where something lies in memory


def trace_gan(settings, num_epochs, batch_size):
    gan = settings.create(num_epochs)
    make = jax.make_jaxpr(gan.create_state)(jax.random.key(0))
    state = jax.eval_shape(gan.create_state, jax.random.key(0))
    steps = [stage.create_step(None, 0) for stage in gan.stages]
    return show(make), [trace_step(state, step, settings, batch_size) for step in steps]


def trace_classifier(settings, optimizer_settings, batch_size):
    bound = {"classifier": settings.create(2), "optimizer": optimizer_settings.create()}
    state = jax.eval_shape(lambda key: create_classifier_state(key, **bound), jax.random.key(0))

    def step(state, batch, key):
        return train_step(state, batch, key, **bound)

    return trace_step(state, step, settings, batch_size)


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
        def __init__(self, **options):
            noted.append(("program", options["batch_size"], options["max_steps"]))

        def create_dispatcher(self, make_step):
            return None

        def train(self, state, images, *, notes, partial, **options):
            noted.append(("train", images.images.tobytes(), images.files, options))
            raise Noted

    def run(self, job):
        noted.append((job.kind, job.name))
        if job.kind == "images":
            noted.append((job.compute.args[1:], job.record))
            return draw(settings.gan, num=job.compute.args[2])
        if job.kind in list_rulers():
            noted.append(job.record)
            return None
        lab = job.compute.func.__self__
        if job.kind == "generator":
            lab._gan = dataclasses.replace(lab._gan, create_state=lambda key: None)
        else:
            lab._create_state = lambda key: None
        with pytest.raises(Noted):
            job.compute(folder / "partial")
        if job.kind != "generator":
            return {"probabilities": np.zeros((1, 2))}
        code = draw(settings.gan, num=2)["images"]
        return {"record": np.array("r"), "code_images": code, "held_logits": np.arange(4.0)}

    def note_predicting(classifier, batch_size):
        noted.append(("predict", batch_size))

    monkeypatch.setattr(generators, "Trainer", NotingTrainer)
    monkeypatch.setattr(classifiers, "Trainer", NotingTrainer)
    monkeypatch.setattr(classifiers, "create_predict", note_predicting)
    monkeypatch.setattr(JobRunner, "run", run)
    results = study_run.run_jobs(
        settings,
        dataset=make_data(size=settings.classifier.image_size),
        gan_dataset=make_data(size=settings.gan.image_size),
        workdir=folder,
        num_devices=1,
    )
    noted += [vars(failure) for failure in results.failures]
    loaded = [getattr(settings.data, name.partition(".")[2]) for name in LOADED]
    learner = (settings.classifier, settings.optimizer, settings.batch_size)
    programs = [trace_once(trace_classifier, *learner)]
    if settings.needs_generators:
        run_of_gan = (settings.gan, settings.gan_epochs, settings.gan_batch_size)
        programs.append(trace_once(trace_gan, *run_of_gan))
    return [noted, loaded, programs, (folder / "classifiers").exists()]


def without_effect(name, unused):
    return describe_unused([f"config.{name}"], unused) is not None


SETTINGS = make_study()
# A family has fields of its own: what another one does is the business of its tests.
FIELDS = [name for name in list_fields(SETTINGS) if not name.endswith(".family")]
# Tracing a GAN's step takes seconds.
PARAMETERS = [
    pytest.param(name, marks=[pytest.mark.slow] * name.startswith("gan.")) for name in FIELDS
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
        together = replace(SETTINGS, gan=replace(SETTINGS.gan, **TOGETHER[name]))
        base = note_study(together, tmp_path / "together", monkeypatch)
    # What is named has none, and what is not named has one.
    assert (noted == base) == without_effect(name, find_unused_by_study(settings))


# Runs of their own, ablations, coverage --------------------------------------------------------

# What reads all fields; what dataclasses write has no file.
RECORDS = ("core/settings.py", "dataclasses.py", "<string>", "jobs.py", "unused.py")
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
def test_a_gan_s_run_reads_every_field_that_is_not_named(rule, tmp_path):
    settings, read = make_dcgan_settings(num_epochs=1, selection={"rule": rule}), set()
    dataset = make_dataset()
    train_gan(spy(settings, read), dataset=dataset, class_name="left", workdir=tmp_path)
    assert find_unread(settings, read | DATA, find_unused_by_run(settings)) == []


def test_a_classifier_s_run_reads_every_field_that_is_not_named(tmp_path):
    settings, read = make_gmd_settings(optimizer="adam", num_epochs=1), set()
    dataset = make_dataset(size=24)
    train_classifier(spy(settings, read), dataset=dataset, workdir=tmp_path)
    unused = find_unused_by_training(settings, augment=False)
    assert find_unread(settings, read | DATA, unused) == []
    assert "optimizer.momentum" not in read and without_effect("optimizer.momentum", unused)
    others = find_unused_by_training(make_gmd_settings(), augment=True)
    assert not without_effect("optimizer.momentum", others)


def test_coverage_reads_every_field_that_is_not_named(tmp_path, monkeypatch):
    """Of the classifier's it names what a study does."""
    settings, read = make_study(), set()
    monkeypatch.setattr(coverage, "ClassifierLab", lambda settings, **options: None)
    options = {"num_studies": 1, "films_per_class": 9, "num_fresh": 6, "folder": tmp_path}
    with pytest.raises(UserError, match="No study could be done"):
        coverage.run_coverage(spy(settings, read), **options)
    unused = find_unused_by_coverage(settings)
    unread = find_unread(settings, read, unused)
    assert [n for n in unread if not n.startswith(("classifier.", "optimizer."))] == []
    names = ("num_folds", "num_seeds", "num_updates", "data.phantom_subtlety", "classifier.width")
    assert not any(without_effect(name, unused) for name in names)
    adam = replace(settings, optimizer=OptimizerSettings(name="adam", learning_rate=1, momentum=0))
    for find in (find_unused_by_study, find_unused_by_coverage):
        assert without_effect("optimizer.momentum", find(adam))
        assert not without_effect("optimizer.momentum", find(settings))


def test_an_ablation_names_what_its_variants_leave_without_effect():
    settings = make_ablation(train=make_dcgan_settings(diffaugment=False))
    unused = find_unused_by_ablation(settings)
    names = ("selection.rule", "look_every_epochs", "gan.augment_policy", "gan.augment_ramp_images")
    assert all(without_effect(f"train.{name}", unused) for name in names)
    assert not without_effect("train.num_epochs", unused)
    augmented = make_ablation(variants={"all": {}, "none": {"gan": {"diffaugment": False}}})
    assert not without_effect("train.gan.augment_policy", find_unused_by_ablation(augmented))
