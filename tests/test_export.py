"""Exported runs: the same numbers without jaxgan, the card, what is refused, what is not told."""

import dataclasses
import json
import runpy
import subprocess
import sys

import jax
import numpy as np
import pytest

from jaxgan.classifiers.step import create_classifier_state
from jaxgan.core.errors import UserError
from jaxgan.core.files import write_json
from jaxgan.core.settings import to_dict
from jaxgan.data.forms import Form
from jaxgan.data.images import GENERATED_KEY
from jaxgan.data.values import View
from jaxgan.experiments import export, export_card
from jaxgan.experiments.classifier_runs import RestoredClassifier
from jaxgan.experiments.export import NOTE, choose_formats, export_run
from jaxgan.experiments.export_card import describe_preparation, read_measures
from jaxgan.gans.protocol import Networks, describe_shapes
from jaxgan.sampling.runs import RestoredRun, create_sampler
from jaxgan.training.run_folder import read_record, write_record
from tests import forks
from tests.helpers import make_dcgan_settings, make_environment, make_gmd_settings
from tests.test_onnx_writer import create_gan_settings, draw_variables

NAMES = ("left", "right")
DATA = {
    "name": "films",
    "fingerprint": "f" * 64,
    "skipped": ["ward7/mustermann_max.png is no image"],
}
MEASURE = {"value": 0.75, "interval": [0.6, 0.9]}
ROW = {"count": 4, "sensitivity": MEASURE, "specificity": MEASURE, "auc": MEASURE}
PART = {
    "count": 8,
    "accuracy": MEASURE,
    "balanced_accuracy": 0.75,
    "per_class": dict.fromkeys(NAMES, ROW),
}


def make_classifier(run, **changes):
    """A run of a GMD as `restore_classifier` returns it, without any training."""
    settings = make_gmd_settings(**changes)
    record = {"kind": "classifier", "data": DATA, "settings": to_dict(settings)}
    notes = {"command": "python x --data_dir=/home/mustermann", "data": "/home/mustermann/films"}
    write_record(run, {**record, "synthetic": {"images": {"left": 3}}}, notes)
    write_json(run / "report.json", {"last": {"train": PART, "val": PART}})
    classifier = settings.classifier.create(2)
    create = lambda key: create_classifier_state(  # noqa: E731
        key, classifier=classifier, optimizer=settings.optimizer.create()
    )
    variables = draw_variables(jax.eval_shape(create, jax.random.key(0)).variables)
    form = Form(24, 1, "crop", View(None, {"DICOM CR": (0.0, 4095.0)}))
    return RestoredClassifier(run, settings, NAMES, classifier, variables, 12, form)


def make_generator(run, name="mlp"):
    """A run of a GAN as `restore_model` returns it, without any training."""
    settings = dataclasses.replace(make_dcgan_settings(), gan=create_gan_settings(name))
    gan = settings.create_gan()
    shapes = gan.get_networks(describe_shapes(gan))
    networks = Networks(draw_variables(shapes.generator), None)
    record = {"kind": "gan", "class": run.name, "data": DATA, "settings": to_dict(settings)}
    write_record(run, record)
    return RestoredRun(settings, gan, networks, create_sampler(settings, gan), 12)


@pytest.fixture
def export_it(monkeypatch, tmp_path):
    """Export a run that is restored as given; return the folder."""

    def call(run, restored, out="out", **options):
        monkeypatch.setattr(export, "restore_classifier", lambda *args, **more: restored)
        monkeypatch.setattr(export, "restore_model", lambda *args, **more: restored)
        export_run(run, tmp_path / out, cache_dir=tmp_path, **options)
        return tmp_path / out

    return call


@pytest.fixture(scope="module")
def classifier(tmp_path_factory):
    return make_classifier(tmp_path_factory.mktemp("runs") / "gmd" / "real")


@pytest.fixture(scope="module")
def exported(classifier, tmp_path_factory):
    """The export of a classifier in both formats."""
    out = tmp_path_factory.mktemp("exported")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(export, "restore_classifier", lambda *args, **more: classifier)
        export_run(classifier.run, out, cache_dir=out)
    return out


def run_loader(file, *arguments):
    """Run a program of an export where jaxgan cannot be imported."""
    code = (
        "import runpy, sys; sys.modules['jaxgan'] = sys.modules['flax'] = None; "
        "sys.argv = sys.argv[1:]; runpy.run_path(sys.argv[0], run_name='__main__')"
    )
    command = [sys.executable, "-I", "-c", code, str(file), *map(str, arguments)]
    environment = make_environment() | {"JAX_PLATFORMS": "cpu"}
    return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=300)


every_gan = pytest.mark.parametrize(
    "family", ["mlp", pytest.param("dcgan", marks=pytest.mark.slow)]
)


def call_loader(monkeypatch, file, *arguments):
    """Run a program of an export in this process, without jaxgan: this is faster."""
    monkeypatch.setattr(sys, "argv", [str(file), *map(str, arguments)])
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "jaxgan", None)
        runpy.run_path(str(file), run_name="__main__")


# The same numbers --------------------------------------------------------------------------------


@pytest.mark.parametrize("num", [1, 5])
@pytest.mark.parametrize("name", ["stablehlo", "onnx"])
def test_a_classifier_predicts_the_same_without_jaxgan(
    classifier, exported, name, num, tmp_path, monkeypatch, capsys
):
    images = np.random.default_rng(num).integers(0, 256, (num, 24, 24, 1), np.uint8)
    np.save(tmp_path / "images.npy", images)
    place = tmp_path / "probabilities.npy"
    call_loader(monkeypatch, exported / f"load_{name}.py", tmp_path / "images.npy", place)
    expected = classifier.compute_probabilities(images)
    found = np.load(place, allow_pickle=False)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, rtol=0.0, atol=1e-6)
    assert capsys.readouterr().out.startswith("['left', 'right']")


@pytest.mark.parametrize("name", [pytest.param("stablehlo", marks=pytest.mark.slow), "onnx"])
def test_a_loader_runs_in_a_process_of_its_own(exported, name, tmp_path):
    np.save(tmp_path / "images.npy", np.zeros((2, 24, 24, 1), np.uint8))
    place = tmp_path / "probabilities.npy"
    result = run_loader(exported / f"load_{name}.py", tmp_path / "images.npy", place)
    assert result.returncode == 0, result.stderr
    np.testing.assert_allclose(np.load(place, allow_pickle=False).sum(axis=1), 1.0, atol=1e-6)


def test_the_outputs_that_are_no_class_are_named(classifier, exported):
    model = export.create_classifier_model(classifier, "newest")
    num = classifier.compute_probabilities(np.zeros((1, 24, 24, 1), np.uint8)).shape[1]
    expected = [*NAMES, *(f"outside_{i + 1}" for i in range(num - 2))]
    assert model.facts["outputs"] == expected
    assert "0 left, 1 right" in (exported / "README.md").read_text()


@every_gan
def test_a_generator_draws_the_same_without_jaxgan(
    family, export_it, tmp_path, monkeypatch, capsys
):
    run = tmp_path / "dcgan" / "pneumonia"
    restored = make_generator(run, family)
    out = export_it(run, restored)
    capsys.readouterr()
    for name in ("stablehlo", "onnx"):
        call_loader(monkeypatch, out / f"load_{name}.py", 5, tmp_path / f"{name}.npy")
    latents = np.random.default_rng(0).standard_normal((5, 8), np.float32)
    model = export.create_generator_model(run, restored)
    expected = np.asarray(model.program.create_function()(latents)).astype(int)
    assert np.ptp(expected) > 50 and expected.shape == (5, 32, 32, 1)
    for name in ("stablehlo", "onnx"):
        found = np.load(tmp_path / f"{name}.npy", allow_pickle=False)
        assert found.dtype == np.uint8
        assert np.abs(found - expected).max() <= 1  # at a border between two grays
        assert (found == expected).mean() > 0.999
    assert GENERATED_KEY.encode() in (out / "model.onnx").read_bytes()
    card = (out / "README.md").read_text()
    assert (
        f"{family.upper()} of class pneumonia" in card
        and "synthetic" in card
        and "Not measured." in card
    )


@pytest.mark.slow
@pytest.mark.parametrize("family", ["mlp", "dcgan"])
def test_the_program_is_the_sampler_s(family, tmp_path):
    """For the latents of a seed, the pixels that `sample` writes."""
    run = tmp_path / "dcgan" / "left"
    restored = make_generator(run, family)
    expected = restored.sampler.draw(restored.networks, 3, 2)
    latents = restored.gan.draw_latents(restored.sampler.key, np.arange(3, 5, dtype=np.uint32))
    found = export.create_generator_model(run, restored).program.compute(latents)
    assert np.abs(np.asarray(found).astype(int) - expected).max() <= 1


@pytest.mark.parametrize(("truncation", "is_told"), [(1.0, False), (0.7, True)])
def test_a_card_says_that_a_run_truncates_its_latents(truncation, is_told, tmp_path):
    """The program itself takes any: whoever draws the latents should know."""
    restored = make_generator(tmp_path / "left", "mlp")
    settings = restored.settings
    selection = dataclasses.replace(settings.selection, truncation=truncation)
    restored = restored._replace(settings=dataclasses.replace(settings, selection=selection))
    model = export.create_generator_model(tmp_path / "left", restored)
    words = {**model.describe(), "formats": (), "versions": {}, **model.facts}
    card = export_card.render_card(model.what, words)
    assert ("every number beyond 1.4 or -1.4 (truncation 0.7)" in card) is is_told
    assert is_told or "truncation 1" not in card


@pytest.fixture
def conditional(tmp_path):
    """A model of all classes, and the folders of its runs."""
    restored = make_generator(tmp_path / "all", "conditional")
    record = read_record(tmp_path / "all")
    for label, name in enumerate(("normal", "covid", "pneumonia")):
        write_record(tmp_path / name, {**record, "class": name, "label": label})
    return restored


def test_a_model_of_all_classes_takes_labels_and_names_them(conditional, tmp_path):
    model = export.create_generator_model(tmp_path / "all", conditional)
    assert [a.name for a in model.program.arguments] == ["latents", "labels"]
    assert model.classes == ("normal", "covid", "pneumonia")
    words = {**model.describe(), "formats": ["onnx"], "versions": {}, **model.facts}
    card = export_card.render_card("generator", words)
    assert "of 3 classes" in card and "0 normal, 1 covid, 2 pneumonia" in card
    loader = export_card.render_loader("generator", "onnx", model.describe())
    assert '{"latents": latents, "labels": labels}' in loader


@pytest.mark.slow
def test_a_class_of_a_model_of_all_draws_as_the_model_with_its_label(conditional, tmp_path):
    model = export.create_generator_model(tmp_path / "all", conditional)
    latents = np.random.default_rng(0).standard_normal((2, 8), np.float32)
    both = np.asarray(model.program.compute(latents, np.array([0, 1], np.int32)))
    sampler = create_sampler(conditional.settings, conditional.gan, label=1)
    one = export.create_generator_model(tmp_path / "covid", conditional._replace(sampler=sampler))
    assert [a.name for a in one.program.arguments] == ["latents"] and not one.classes
    alone = np.asarray(one.program.compute(latents))
    np.testing.assert_array_equal(alone[1], both[1])
    assert (alone[0] != both[0]).any()


# The card and the note ---------------------------------------------------------------------------


def test_the_card_says_what_the_record_and_the_report_say(exported):
    card = (exported / "README.md").read_text()
    for words in (
        "Model card: GMD for 2 classes",
        "Not a medical device",
        "uint8 [batch, 24, 24, 1]",
        "8 images of films (data fingerprint ffffffffffffffff): 4 left, 4 right",
        "3 generated images were added",
        "balanced accuracy 75.0 %",
        "| left | 4 | 75.0 % [60.0 to 90.0] |",
        "Images of DICOM CR: 0 becomes 0 and 4095 becomes 255.",
    ):
        assert words in card, words


def test_nothing_tells_a_place_a_file_or_a_patient(exported, classifier):
    for file in exported.iterdir():
        content = file.read_bytes()
        for secret in (b"mustermann", b"/home", str(classifier.run).encode(), b"ward7"):
            assert secret not in content.lower(), (file, secret)


def test_the_path_of_weights_is_left_out_and_their_digest_is_there(tmp_path):
    restored = make_classifier(tmp_path / "real")
    transfer = {"weights": "/home/mustermann/resnet.pth"}
    settings = make_gmd_settings(transfer={**to_dict(restored.settings)["transfer"], **transfer})
    record = {"kind": "classifier", "data": DATA, "settings": to_dict(settings)}
    write_record(
        restored.run, {**record, "weights": {"file": "mustermann.pth", "sha256": "ab" * 32}}
    )
    changed = RestoredClassifier(
        restored.run, settings, NAMES, restored.classifier, restored.variables, 12, restored.form
    )
    model = export.create_classifier_model(changed, "newest")
    words = {**model.describe(), "formats": ["onnx"], "versions": {}, **model.facts}
    card = export_card.render_card("classifier", words)
    assert "ab" * 32 in card and "licence applies" in card and "mustermann" not in card


def test_the_note_describes_the_files(exported):
    note = json.loads((exported / NOTE).read_text())
    assert note["classes"] == list(NAMES)
    assert note["inputs"] == [{"name": "images", "dtype": "uint8", "shape": ["batch", 24, 24, 1]}]
    assert set(note["files"]) == {"model.stablehlo", "model.onnx"}


def test_a_report_that_is_absent_or_was_edited_gives_no_numbers():
    assert read_measures({}, "last", "val") is None
    assert read_measures({"last": {"val": {**PART, "per_class": 3}}}, "last", "val") is None
    assert read_measures({"last": {"val": PART}}, "last", "val")["count"] == 8


def test_the_range_that_a_user_gave_is_named():
    sentences = describe_preparation(Form(64, 3, "pad", View((-1000.0, 400.0), {})))
    assert sentences[-1] == "Images of more than 8 bits: -1000 becomes 0 and 400 becomes 255."
    assert "black margins" in sentences[0] and "RGB" in sentences[2]


# What is refused ---------------------------------------------------------------------------------


def test_a_folder_with_other_things_is_refused(export_it, classifier, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.txt").write_text("mine")
    with pytest.raises(UserError, match=r"thesis\.txt.*choose another --out"):
        export_it(classifier.run, classifier)
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["thesis.txt"]
    with pytest.raises(UserError, match="is a file: expected a folder"):
        export_it(classifier.run, classifier, out="out/thesis.txt")


def test_another_network_is_refused_and_the_same_one_is_written_again(
    export_it, classifier, tmp_path, monkeypatch
):
    monkeypatch.setattr(export, "_convert", lambda program, name, described: name.encode())
    out = export_it(classifier.run, classifier, formats=("onnx",))
    assert not (out / "model.stablehlo").exists()
    export_it(classifier.run, classifier, formats=("stablehlo",))
    assert set(json.loads((out / NOTE).read_text())["files"]) == {"model.stablehlo", "model.onnx"}
    assert "`model.onnx`" in (out / "README.md").read_text()
    run = tmp_path / "dcgan" / "left"
    with pytest.raises(UserError, match="has the export of another network, of step 12"):
        export_it(run, make_generator(run))


def test_a_run_of_another_kind_is_refused(tmp_path):
    write_record(tmp_path / "run", {"kind": "study", "settings": {}, "data": {}})
    with pytest.raises(UserError, match="is the run of a study: expected the run of a classifier"):
        export_run(tmp_path / "run", tmp_path / "out", cache_dir=tmp_path)
    with pytest.raises(UserError, match="is not the folder of a run"):
        export_run(tmp_path / "none", tmp_path / "out", cache_dir=tmp_path)


def test_formats_are_checked_and_chosen(monkeypatch, capsys):
    assert choose_formats(()) == ("stablehlo", "onnx")
    assert choose_formats(("onnx",)) == ("onnx",)
    with pytest.raises(UserError, match="expected stablehlo or onnx"):
        choose_formats(("tflite",))
    monkeypatch.setattr(export, "is_installed", lambda: False)
    assert choose_formats(()) == ("stablehlo",)
    assert "pip install -e '.[onnx]'" in capsys.readouterr().out
    with pytest.raises(UserError, match=r"pip install -e '\.\[onnx\]'"):
        choose_formats(("onnx",))


@pytest.mark.slow
def test_the_launcher_asks_for_what_is_missing():
    result = forks.run("export", ["--run=somewhere"])
    assert result.returncode == 2
    assert "Expected --run=FOLDER" in result.stderr and "--out=FOLDER" in result.stderr
