"""Export the network of a run: files that others use without jaxgan, and a model card."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxgan.classifiers.step import compute_probabilities
from jaxgan.core.console import say
from jaxgan.core.errors import UserError, list_some
from jaxgan.core.files import make_folder, read_object, write_bytes, write_json, write_text
from jaxgan.core.types import Params
from jaxgan.core.untrusted import printable
from jaxgan.core.versions import get_versions
from jaxgan.data.images import GENERATED_KEY
from jaxgan.experiments.classifier_runs import RestoredClassifier, restore_classifier
from jaxgan.experiments.export_card import (
    describe_classifier,
    describe_generator,
    render_card,
    render_loader,
)
from jaxgan.gans.protocol import Given
from jaxgan.networks.onnx_writer import INSTALL, is_installed, to_onnx
from jaxgan.networks.programs import Argument, Program, to_stablehlo
from jaxgan.ops.pixels import scale_to_bytes
from jaxgan.sampling.runs import RestoredRun, restore_model
from jaxgan.training.run_folder import read_record

FORMATS = ("stablehlo", "onnx")
NOTE = "export.json"  # names the network of the files in a folder
_NOTICES = {
    "classifier": "For research. Not a medical device.",
    "generator": "Images of this program are synthetic: a GAN made them. Not for diagnosis.",
}
_VERSIONS = ("python", "jaxgan", "jax", "jaxlib", "flax", "numpy")


@dataclass(frozen=True)
class Model:
    """The network of a run, ready to be exported.

    `what` is "classifier" or "generator". `classes` are in the order of the outputs, or of the
    labels that the program takes. `facts` are for the model card.
    """

    what: str
    program: Program
    variables: Params
    classes: tuple[str, ...]
    step: int
    facts: Mapping[str, Any]

    def describe(self) -> dict[str, Any]:
        """Return what identifies the network, and the inputs and output of its program."""
        digest = hashlib.sha256()
        for leaf in jax.tree.leaves(self.variables):
            digest.update(np.ascontiguousarray(leaf).tobytes())
        return {
            "what": self.what,
            "variables_sha256": digest.hexdigest(),
            "step": self.step,
            "inputs": [
                {"name": a.name, "dtype": a.dtype, "shape": ["batch", *a.shape]}
                for a in self.program.arguments
            ],
            "output": self.program.output,
            "classes": list(self.classes),
            "notice": _NOTICES[self.what],
        }


def export_run(
    run: Path,
    out: Path,
    *,
    cache_dir: Path,
    formats: Sequence[str] = (),
    checkpoint: str | None = None,
    training_dir: Path | None = None,
) -> None:
    """Write the network of a run to the folder `out`, with a model card and programs to load it.

    `formats` are some of `FORMATS`; none: all that can be written here. `checkpoint` is "best" or
    "newest"; None: a GAN's own setting, a classifier's newest. Raises `UserError` if `out` has
    other files than an earlier export of the same network.
    """
    formats = choose_formats(formats)
    model = load_model(run, checkpoint, cache_dir=cache_dir, training_dir=training_dir)
    described = model.describe()
    _open_out(out, described)
    for name in formats:
        write_bytes(out / f"model.{name}", _convert(model.program, name, described))
    # An earlier export of the same network may have written the other format.
    found = [name for name in FORMATS if (out / f"model.{name}").exists()]
    for name in found:
        write_text(out / f"load_{name}.py", render_loader(model.what, name, described))
    versions = {name: text for name, text in get_versions().items() if name in _VERSIONS}
    words = {**described, "formats": found, "versions": versions}
    write_text(out / "README.md", render_card(model.what, {**words, **model.facts}))
    files = {f"model.{name}": _hash_file(out / f"model.{name}") for name in found}
    write_json(out / NOTE, {**described, "versions": versions, "files": files})
    sizes = [f"{name} ({(out / name).stat().st_size / 1000:,.0f} kB)" for name in files]
    say(f"Wrote {' and '.join(sizes)} to {printable(str(out))}. README.md is the model card.")


def choose_formats(asked: Sequence[str]) -> tuple[str, ...]:
    """Return the formats to write: those asked for, or all that can be written here.

    Raises `UserError` for an unknown format, or for ONNX without its package.
    """
    unknown = [name for name in asked if name not in FORMATS]
    if unknown:
        raise UserError(f"--format is {list_some(unknown)}: expected {' or '.join(FORMATS)}.")
    if "onnx" in asked and not is_installed():
        raise UserError(f"--format=onnx needs the package onnx: {INSTALL}")
    if asked:
        return tuple(name for name in FORMATS if name in asked)
    if not is_installed():
        say(f"Only StableHLO is written, because ONNX needs the package onnx: {INSTALL}")
        return ("stablehlo",)
    return FORMATS


def _convert(program: Program, name: str, described: Mapping[str, Any]) -> bytes:
    if name == "stablehlo":
        return to_stablehlo(program)
    notes = {"notice": described["notice"], "classes": json.dumps(described["classes"])}
    if described["what"] == "generator":
        notes[GENERATED_KEY] = "yes"
    return to_onnx(program, notes)


def _hash_file(file: Path) -> str:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


# The network of a run ----------------------------------------------------------------------------


def load_model(
    run: Path, checkpoint: str | None, *, cache_dir: Path, training_dir: Path | None = None
) -> Model:
    """Return the network of a classifier's or a GAN's run. Raises `UserError` for other runs."""
    kind = read_record(run)["kind"]
    if kind == "classifier":
        newest = checkpoint or "newest"
        restored = restore_classifier(run, newest, cache_dir=cache_dir, training_dir=training_dir)
        return create_classifier_model(restored, newest)
    if kind == "gan":
        return create_generator_model(run, restore_model(run, checkpoint))
    raise UserError(f"{run} is the run of a {kind}: expected the run of a classifier or a GAN.")


def create_classifier_model(restored: RestoredClassifier, checkpoint: str) -> Model:
    """Return a classifier as a program that maps uint8 images to probabilities."""
    classifier, variables = restored.classifier, restored.variables

    def compute(images: Any) -> Any:
        return compute_probabilities(variables, images, classifier=classifier)

    size = classifier.input.image_size
    images = Argument("images", (size, size, classifier.input.channels), "uint8")
    program = Program("classify", (images,), "probabilities", compute)
    num_outputs = jax.eval_shape(compute, _describe_one(images)).shape[1]
    facts = describe_classifier(restored, num_outputs, checkpoint)
    return Model("classifier", program, variables, restored.class_names, restored.step, facts)


def create_generator_model(run: Path, restored: RestoredRun) -> Model:
    """Return a generator as a program that maps latents, and labels, to uint8 images.

    The program of one class of a class-conditional model takes no labels. Raises `UserError` if the
    latents of the family are not one array [batch, size].
    """
    gan, variables = restored.gan, restored.networks.generator
    seeds = jax.ShapeDtypeStruct((1,), np.uint32)
    latents = jax.eval_shape(gan.draw_latents, jax.random.key(0), seeds)
    if not isinstance(latents, jax.ShapeDtypeStruct) or latents.ndim != 2:
        raise UserError(
            f"The latents of the GAN in {run} are not one array [batch, size]: a GAN of this "
            "family cannot be exported."
        )
    classes = _read_classes(run) if _takes_labels(restored) else ()

    def compute(latents: Any, labels: Any = None) -> Any:
        if restored.label is not None:
            labels = jnp.full(latents.shape[0], restored.label, jnp.int32)
        return scale_to_bytes(gan.generate(variables, latents, Given(labels)))

    arguments = [Argument("latents", latents.shape[1:], latents.dtype.name)]
    if classes:
        arguments.append(Argument("labels", (), "int32"))
    program = Program("generate_synthetic", tuple(arguments), "images", compute)
    image = jax.eval_shape(compute, *map(_describe_one, arguments)).shape[1:]
    facts = describe_generator(run, restored, image)
    return Model("generator", program, variables, classes, restored.step, facts)


def _takes_labels(restored: RestoredRun) -> bool:
    return bool(restored.settings.gan.num_classes) and restored.label is None


def _describe_one(argument: Argument) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct((1, *argument.shape), np.dtype(argument.dtype))


def _read_classes(run: Path) -> tuple[str, ...]:
    """Return the classes of a class-conditional model: the names of their runs, by label."""
    records = [read_record(file.parent) for file in sorted(run.parent.glob("*/config.json"))]
    names = {r["label"]: str(r.get("class")) for r in records if r.get("label") is not None}
    num = read_record(run)["settings"]["gan"]["num_classes"]
    return tuple(names.get(label, f"class {label}") for label in range(num))


# The folder --------------------------------------------------------------------------------------


def _open_out(out: Path, described: Mapping[str, Any]) -> None:
    """Create the folder of an export; raise if it has other files, or another network."""
    if out.exists() and not out.is_dir():
        raise UserError(f"--out={out} is a file: expected a folder.")
    names = sorted(path.name for path in out.iterdir()) if out.is_dir() else []
    note = read_object(out / NOTE)
    if names and "variables_sha256" not in (note or {}):
        raise UserError(
            f"{out} is not empty ({printable(list_some(names))}) and is not an export: choose "
            "another --out."
        )
    same = ("what", "variables_sha256", "inputs", "classes")
    if note is not None and any(note.get(name) != described[name] for name in same):
        raise UserError(
            f"{out} has the export of another network, of step {note.get('step')}: choose "
            "another --out, or remove that folder."
        )
    make_folder(out)
    write_json(out / NOTE, dict(described))
