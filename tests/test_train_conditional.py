"""One model of all classes: what it leaves, what else takes it for the runs of its classes."""

import functools
import json
import shutil
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from jaxgan.core.errors import UserError
from jaxgan.evaluation.quality import MEASURES
from jaxgan.evaluation.subjects import load_run
from jaxgan.experiments import train_gan as module
from jaxgan.experiments.sample import sample_run
from jaxgan.experiments.train_gan import make_conditional, train_conditional
from jaxgan.gans.dcgan import DcganSettings
from jaxgan.reports import drawing
from jaxgan.sampling.kept import read_table
from jaxgan.sampling.runs import draw_from_run, restore_run
from jaxgan.sampling.synthetic import load_synthetic
from jaxgan.training.loop import Stopped
from jaxgan.training.run_folder import read_metrics
from tests.helpers import (
    compute_difference,
    create_state,
    make_dataset,
    make_dcgan_settings,
    replace,
    restore_newest,
    write_run,
)

DATASET = make_dataset(num_train=44, num_val=40)
SETTINGS = make_conditional(
    make_dcgan_settings(
        num_epochs=2,
        measure_every_epochs=1,
        select_checkpoint="newest",
        selection={"rule": "none", "num_accept": 5},
    ),
    DATASET,
    "all",
)


def train(workdir, settings=SETTINGS, num_devices=1):
    train_conditional(settings, dataset=DATASET, workdir=workdir, num_devices=num_devices)
    return workdir


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return train(tmp_path_factory.mktemp("conditional"))


def test_the_model_has_one_run_and_every_class_what_a_run_leaves(whole):
    assert (whole / "all" / "checkpoints").is_dir()
    for name in ("samples", "losses", "acceptance", "metric"):
        assert (whole / "all" / "figures" / f"{name}.png").is_file()
    samples = {path.name for path in (whole / "all" / "samples").iterdir()}
    assert samples == {f"epoch_{epoch:05d}.png" for epoch in (1, 2)}
    for name in ("left", "right"):
        assert len(read_table(whole / name)) == 5
        assert len(list((whole / name / "accepted").iterdir())) == 5
        for figure in ("samples", "scores", "real_beside_kept", "augmented"):
            assert (whole / name / "figures" / f"{figure}.png").is_file()
        assert not (whole / name / "checkpoints").exists()


def test_classes_are_measured_alone_and_the_model_by_their_mean(whole):
    last = read_metrics(whole / "all")[-1]
    classes = [last[f"kernel_distance: {name}"] for name in ("left", "right")]
    assert classes[0] != classes[1]
    assert last["kernel_distance"] == pytest.approx(np.mean(classes))
    report = json.loads((whole / "all" / "report.json").read_text())
    assert report["label_effect"] == last["label_effect"]
    assert sorted(report["classes"]) == ["left", "right"]
    left = json.loads((whole / "left" / "report.json").read_text())
    assert left == {**report["classes"]["left"], "versions": report["versions"]}


def test_other_commands_take_a_class_for_a_run(whole, tmp_path):
    left, right = (draw_from_run(whole / name, num=6, seed=3) for name in ("left", "right"))
    assert (left != right).any()
    sample_run(whole / "left", tmp_path / "out", num=6)
    assert len(list((tmp_path / "out").glob("seed_*.png"))) == 6
    kept = load_synthetic(whole, DATASET)
    assert {name: len(images) for name, images in kept.items()} == {"left": 5, "right": 5}
    subjects = load_run(whole, "right", DATASET, num=25)
    assert subjects.classes is not None
    np.testing.assert_array_equal(subjects.generated.images, draw_from_run(whole / "right", num=25))
    with pytest.raises(UserError, match="is the run of a model of all classes: choose one of them"):
        draw_from_run(whole / "all", num=2)


def test_a_kept_image_can_be_drawn_again_from_its_seed_and_class(whole):
    row = read_table(whole / "right")[-1]  # of the finished generator
    restored = restore_run(whole / "right")
    again = restored.sampler.draw_scored(restored.networks, row.seed, 1)
    assert again.scores[0] == pytest.approx(row.score, abs=1e-5)


class Signals:
    """A signal that comes during the second dispatch, in which the first epoch ends."""

    def __enter__(self):
        signals = iter((0, 15))
        return lambda: next(signals)

    def __exit__(self, *_):
        return None


def test_a_run_that_was_stopped_ends_as_one_that_was_not(whole, tmp_path, monkeypatch):
    settings = replace(SETTINGS, sample_every_epochs=2)  # sheets to look at
    with monkeypatch.context() as patch, pytest.raises(Stopped, match="after epoch 1 of 2"):
        patch.setattr("jaxgan.training.loop.catch_stop_signals", Signals)
        train(tmp_path, settings)
    train(tmp_path, settings)
    assert read_metrics(tmp_path / "all") == read_metrics(whole / "all")
    for name in DATASET.class_names:
        assert read_table(tmp_path / name) == read_table(whole / name)
    one, other = (restore_newest(run / "all") for run in (tmp_path, whole))
    assert one[0] == other[0]
    assert compute_difference(one[1], other[1]) == 0.0


GAN = SimpleNamespace(get_networks=lambda state: None, augmentation=None)


def make_class_run(label, drawn):
    """A class whose images all have its label for their gray."""

    class Images:
        def __init__(self, label=None):
            self.label = label

        def draw(self, networks, first_seed, num):
            drawn.append(label)
            return np.full((num, 4, 4, 1), label, np.uint8)

        def measure(self, images):
            assert len(images) == 256
            return dict.fromkeys(MEASURES, float(label))

    images = Images(label)
    samplers = {"sampler": images, "final_sampler": images}
    return SimpleNamespace(gan=GAN, class_name=f"c{label:03d}", meter=images, **samplers)


@pytest.mark.parametrize("num", [2, 16, 200])
def test_pictures_and_measures_of_many_classes_have_their_bounds(num, tmp_path, monkeypatch):
    drawn, seen = [], []
    runs = [make_class_run(label, drawn) for label in range(num)]
    folder = SimpleNamespace(get_folder=lambda name: tmp_path)
    training = module._Training(SETTINGS, GAN, "all classes", folder, runs)
    moment = SimpleNamespace(epoch=1, state=None)
    module._write_samples(training, moment)
    module._draw_samples(training, moment.state)
    assert len(drawn) == 2 * min(num, drawing.MOST_ROWS)
    for name in ("epoch_00001.png", "samples.png"):
        with Image.open(tmp_path / name) as image:
            assert max(image.size) <= 16 * 220
    monkeypatch.setattr(
        module, "compute_label_effect", lambda images: seen.append([len(i) for i in images]) or 0.5
    )
    found = module._measure_classes(runs, 0.5, moment)
    assert found["kernel_distance"] == np.mean(range(num))
    assert found[f"kernel_distance: c{num - 1:03d}"] == num - 1
    (lengths,) = seen
    assert len(lengths) == num and sum(lengths) <= 16 * 256
    assert num > 16 or set(lengths) == {256}


def test_what_was_deleted_or_edited_of_a_class_is_made_again(whole, tmp_path, capsys):
    workdir = tmp_path / "conditional"
    shutil.copytree(whole, workdir)
    (workdir / "left" / "config.json").write_text("{")
    with pytest.raises(UserError, match="one class of a conditional model, remove the class's"):
        train(workdir)
    shutil.rmtree(workdir / "left")
    (workdir / "right" / "accepted.csv").unlink()
    lines = read_metrics(workdir / "all")
    edited = next(line for line in lines if "variance_ratio" in line)
    del edited["variance_ratio"], edited["kernel_distance: left"]
    text = "".join(json.dumps(line) + "\n" for line in lines)
    (workdir / "all" / "metrics.jsonl").write_text(text)
    train(workdir)
    out = capsys.readouterr().out
    assert "../left/figures/augmented.png, ../left/figures/real_beside_kept.png" in out
    assert "right/accepted.csv is gone: others take the place of the 5 image(s) in accepted" in out
    for name in ("left", "right"):  # what was kept while it trained gives way to what is drawn now
        assert [row.is_final for row in read_table(workdir / name)] == [True] * 5
    report = json.loads((workdir / "all" / "report.json").read_text())
    assert report["last"]["epoch"] == 2
    train(workdir)
    assert "is finished: 2 epochs. Nothing to do" in capsys.readouterr().out


def test_a_figure_or_report_of_a_class_that_was_deleted_is_made_again(whole, tmp_path, capsys):
    workdir = tmp_path / "conditional"
    shutil.copytree(whole, workdir)
    lost = [workdir / "left" / "figures" / "scores.png", workdir / "right" / "report.json"]
    before = [path.read_bytes() for path in lost]
    for path in lost:
        path.unlink()
    train(workdir)
    out = capsys.readouterr().out
    assert "../left/figures/scores.png, ../right/report.json are gone: the end of the run" in out
    assert [path.read_bytes() for path in lost] == before
    train(workdir)
    assert "is finished: 2 epochs. Nothing to do" in capsys.readouterr().out


@pytest.mark.slow
def test_two_devices_make_the_same_model(whole, tmp_path):
    two, one = (restore_newest(w / "all")[1] for w in (train(tmp_path, num_devices=2), whole))
    assert compute_difference(two, one) < 1e-4


@pytest.mark.parametrize("norm", ["batch", "spectral", "none"])
def test_both_networks_see_the_label(norm):
    settings = replace(SETTINGS, discriminator_norm=norm)
    generator, discriminator = settings.gan.create_networks()
    state = create_state(settings, jax.random.key(0))
    latents, labels = jnp.ones((2, settings.gan.latent_size)), jnp.array([0, 1])
    variables = state.generator.variables
    images = jax.jit(functools.partial(generator.apply, train=False))(variables, latents, labels)
    assert (np.asarray(images[0]) != np.asarray(images[1])).any()
    same = jnp.stack([images[0], images[0]])
    score = jax.jit(functools.partial(discriminator.apply, train=False))
    logits = np.asarray(score(state.discriminator.variables, same, labels))
    assert logits[0] != logits[1]
    with pytest.raises(ValueError, match="found no labels"):
        generator.apply(variables, latents, train=False)


def test_what_can_not_be_trained_so_is_refused():
    plain = make_dcgan_settings()
    with pytest.raises(UserError, match="not of left: give --class=all"):
        make_conditional(plain, DATASET, "left")
    alone = replace(DATASET, class_names=("left",))
    with pytest.raises(UserError, match="has one class"):
        make_conditional(plain, alone, "all")
    named = replace(DATASET, class_names=("left", "all"))
    with pytest.raises(UserError, match="is called 'all'"):
        make_conditional(plain, named, "all")
    by_code = make_dcgan_settings(selection={"rule": "paper_code"})
    with pytest.raises(UserError, match="'paper_code' keeps the first image"):
        make_conditional(by_code, DATASET, "all")


def test_a_family_that_knows_one_class_alone_is_refused_by_its_name():
    class OfOneClass(DcganSettings):
        takes_classes = False

    plain = make_dcgan_settings()
    plain = replace(plain, gan=OfOneClass(**vars(plain.gan)))
    with pytest.raises(UserError, match=r"family 'dcgan' can learn only one class: leave"):
        make_conditional(plain, DATASET, "all")


def test_the_run_of_a_class_is_not_written_over(tmp_path):
    write_run(tmp_path, "right", dataset=DATASET)
    before = (tmp_path / "right" / "config.json").read_text()
    with pytest.raises(UserError, match="right holds another run"):
        train(tmp_path)
    assert (tmp_path / "right" / "config.json").read_text() == before
