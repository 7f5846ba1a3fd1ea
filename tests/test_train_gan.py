"""A whole DCGAN run, small: what it leaves behind, and that stopping changes nothing."""

import contextlib
import csv
import io
import json
import re
import shutil

import jax
import numpy as np
import pytest
from PIL import Image

from jaxgan.core.errors import UserError
from jaxgan.evaluation.quality import (
    FIRST_SEED,
    MEASURES,
    METRIC,
    NUM_IMAGES,
    QualityMeter,
    describe_verdict,
)
from jaxgan.experiments import train_gan as module
from jaxgan.experiments.sample import sample_run
from jaxgan.experiments.train_gan import train_gan
from jaxgan.reports import drawing
from jaxgan.sampling.diverse import choose_diverse
from jaxgan.sampling.kept import read_table
from jaxgan.sampling.runs import draw_from_run
from jaxgan.training.keys import create_keys
from jaxgan.training.loop import Stopped
from jaxgan.training.run_folder import read_metrics
from tests.helpers import (
    compute_difference,
    create_state,
    get_networks,
    make_dataset,
    make_dcgan_settings,
    make_sampler,
    replace,
    restore_newest,
)

SETTINGS = make_dcgan_settings(selection={"threshold": 0.5})
DATASET = make_dataset()


def train(workdir, settings=SETTINGS, *, dataset=DATASET, num_devices=1):
    train_gan(
        settings, dataset=dataset, class_name="left", workdir=workdir, num_devices=num_devices
    )
    return workdir / "left"


def read_all(run):
    """Everything of a run that has to be the same whether or not it was stopped."""
    files = [
        path
        for path in run.rglob("*")
        if path.is_file() and not {"checkpoints", "events"} & set(path.parts)
    ]
    return {str(path.relative_to(run)): path.read_bytes() for path in files}


def read_png(path):
    with Image.open(path) as image:
        return np.asarray(image)


@pytest.fixture(scope="module")
def whole_run(tmp_path_factory):
    return train(tmp_path_factory.mktemp("whole"))


@pytest.fixture(scope="module")
def begun(tmp_path_factory):
    """Runs of the first two epochs, by how many devices they were trained on."""
    workdir, settings = tmp_path_factory.mktemp("begun"), replace(SETTINGS, num_epochs=2)
    return {num: train(workdir / str(num), settings, num_devices=num) for num in (1, 2)}


@pytest.fixture(scope="module")
def short(tmp_path_factory):
    """A run of one epoch, by no rule, without augmentation or measurements; what it said."""
    settings = make_dcgan_settings(
        num_epochs=1,
        measure_every_epochs=0,
        diffaugment=False,
        selection={"rule": "none", "targets": {"Right": 9, "LEFT": 3}},
    )
    with contextlib.redirect_stdout(io.StringIO()) as said:
        run = train(tmp_path_factory.mktemp("short"), settings)
    return run, said.getvalue()


@pytest.fixture
def untrained(monkeypatch):
    """Trainings are left out: the end of a run is done with the networks that it begins with."""

    def fit(training, devices):
        for run in training.runs:
            run.kept.rewind(0)
        settings = training.settings
        return create_state(settings, create_keys(settings.seed).init), settings.num_epochs

    monkeypatch.setattr(module, "_fit", fit)


def test_it_leaves_what_the_map_says(whole_run):
    for name in ("config.json", "metrics.jsonl", "accepted.csv", "finished.json"):
        assert (whole_run / name).is_file(), name
    for name in ("samples.png", "losses.png", "acceptance.png", "scores.png"):
        assert (whole_run / "figures" / name).is_file(), name
    assert (whole_run / "figures" / "real_beside_kept.png").is_file()
    samples = {path.name for path in (whole_run / "samples").iterdir()}
    assert samples == {f"epoch_0000{i}.png" for i in (1, 2, 3)}
    assert any((whole_run / "events").iterdir())
    noted = json.loads((whole_run / "finished.json").read_text())["files"]
    written = {f"figures/{path.name}" for path in (whole_run / "figures").iterdir()}
    assert noted == sorted({*written, "report.json"})


def test_steps_lines_and_optimizer_counts_are_exact(whole_run):
    """Three epochs of 11 images in batches of 8 are five steps: none more is taken or saved."""
    step, state = restore_newest(whole_run)
    assert step == 5
    assert int(state.step) == 5
    assert int(state.generator.opt_state[0].count) == 5
    assert int(state.discriminator.opt_state[0].count) == 5
    lines = read_metrics(whole_run)
    assert [line["step"] for line in lines] == [2, 3, 5]
    assert [line["epoch"] for line in lines] == [1, 2, 3]
    for line in lines:
        assert np.isfinite([line["loss_d"], line["loss_g"], line["acceptance_rate"]]).all()
        assert line["loss_d"] == pytest.approx(line["loss_d_real"] + line["loss_d_fake"], rel=1e-5)


def test_the_nearest_moment_is_kept_and_drawn_from(tmp_path, monkeypatch):
    """Epoch 2 of 3 is made the best; what is sampled afterwards is its generator's."""
    distances = {1: 3.0, 2: 1.0, 3: 4.0}
    states = {}

    def measure(run, moment):
        states[moment.epoch] = jax.tree.map(np.array, moment.state)
        return None, {"kernel_distance": distances[moment.epoch], "variance_ratio": 1.0}

    monkeypatch.setattr(module, "_measure", measure)
    # Between two checkpoints: what is measured is saved all the same.
    settings = replace(SETTINGS, diffaugment=False, checkpoint_every_epochs=3)
    best = train(tmp_path / "best", settings)
    newest = train(tmp_path / "newest", replace(settings, select_checkpoint="newest"))
    for run, epoch in ((best, 2), (newest, 3)):
        report = json.loads((run / "report.json").read_text())
        assert report["selected_epoch"] == epoch
        assert report["best"]["epoch"] == 2
        assert "collapsed" in report["collapse"]
        expected = make_sampler(SETTINGS).draw(get_networks(SETTINGS, states[epoch]), 5, 4)
        np.testing.assert_array_equal(draw_from_run(run, num=4, seed=5), expected)
    drawn = draw_from_run(newest, num=4, seed=5, checkpoint="best")
    np.testing.assert_array_equal(drawn, draw_from_run(best, num=4, seed=5))
    assert (best / "figures" / "metric.png").is_file()


def test_what_is_measured_are_images_of_latents_that_no_other_image_is_made_from(whole_run):
    last = read_metrics(whole_run)[-1]
    images = draw_from_run(whole_run, num=NUM_IMAGES, seed=FIRST_SEED, checkpoint="newest")
    found = QualityMeter(DATASET.train.of_class(0).images).measure(images)
    assert found == {name: pytest.approx(last[name], rel=1e-5) for name in MEASURES}


def test_a_finished_run_draws_and_fits_nothing(whole_run, monkeypatch, capsys):
    def fail(*args, **options):
        raise AssertionError("work that nobody asked for")

    monkeypatch.setattr("jaxgan.evaluation.quality.fit_pyramid_features", fail)
    monkeypatch.setattr("jaxgan.gans.two_player.create_gan_state", fail)
    train(whole_run.parent)
    assert "is finished: 3 epochs. Nothing to do" in capsys.readouterr().out


def test_a_run_without_measurements_draws_from_its_end(short):
    run, _ = short
    assert not (run / "report.json").exists()
    assert "kernel_distance" not in read_metrics(run)[-1]
    assert len(draw_from_run(run, num=2)) == 2


def test_kept_images_are_those_of_the_table_and_pass_the_rule(whole_run):
    with (whole_run / "accepted.csv").open() as file:
        rows = list(csv.DictReader(file))
    files = {path.name for path in (whole_run / "accepted").iterdir()}
    assert {row["file"] for row in rows} == files
    assert all(float(row["score"]) >= 0.5 for row in rows)
    assert len(rows) <= 11


def test_a_kept_image_can_be_made_again_from_its_seed(short, tmp_path):
    run, _ = short
    with (run / "accepted.csv").open() as file:
        row = next(row for row in csv.DictReader(file) if row["file"].startswith("final"))
    sample_run(run, tmp_path / "again", num=8, seed=int(row["seed"]))
    again = read_png(tmp_path / "again" / f"seed_{int(row['seed']):07d}.png")
    np.testing.assert_array_equal(again, read_png(run / "accepted" / row["file"]))


def test_a_stopped_run_ends_as_if_it_had_not_been_stopped(whole_run, tmp_path, monkeypatch):
    class Signals:
        """A signal that comes during the first dispatch of every start but the last."""

        def __enter__(self):
            return lambda: 15

        def __exit__(self, *_):
            return None

    original = module.run_loop.__globals__["catch_stop_signals"]
    monkeypatch.setitem(module.run_loop.__globals__, "catch_stop_signals", Signals)
    for epoch in (1, 2):
        with pytest.raises(Stopped, match=f"after epoch {epoch} of 3"):
            train(tmp_path)
    monkeypatch.setitem(module.run_loop.__globals__, "catch_stop_signals", original)
    run = train(tmp_path)
    assert read_all(run) == read_all(whole_run)
    assert compute_difference(restore_newest(run)[1], restore_newest(whole_run)[1]) == 0.0


def test_more_epochs_go_on_and_end_as_one_longer_run(whole_run, begun, tmp_path, capsys):
    shutil.copytree(begun[1], tmp_path / "left")
    train(tmp_path, replace(SETTINGS, num_epochs=2))
    assert "is finished: 2 epochs" in capsys.readouterr().out
    run = train(tmp_path)
    assert read_all(run) == read_all(whole_run)
    assert compute_difference(restore_newest(run)[1], restore_newest(whole_run)[1]) == 0.0


def test_a_training_ends_with_its_collapse_or_else_a_verdict_on_its_images():
    report = {"floor": 0.2, "best": {METRIC: 0.1, "variance_ratio": 0.9}, "collapse": None}
    assert module._list_sentences(report) == [describe_verdict(report)]
    assert module._list_sentences({**report, "collapse": "It has."}) == ["It has."]
    seen = {**report, "outside": {"sentence": "Blurred."}}
    assert module._list_sentences(seen) == [describe_verdict(report), "Blurred."]
    unknown = {**report, "outside": {"sentence": None}}
    assert module._list_sentences(unknown) == [describe_verdict(report)]


def test_where_it_is_installed_the_outside_ruler_measures_the_selected_generator(
    whole_run, tmp_path, monkeypatch, capsys
):
    asked = []

    def measure(ruler, generated, train, label):
        asked.append((ruler, generated.shape, train.files, label))
        return {"score": None, "blur": None, "sentence": "Blurred.", "reason": None}

    monkeypatch.setattr(module, "list_rulers", lambda: ("pyramid", "outside"))
    monkeypatch.setattr(module, "measure", measure)
    shutil.copytree(whole_run, tmp_path / "left")
    (tmp_path / "left" / "report.json").unlink()
    run = train(tmp_path)
    assert asked == [("outside", (256, 32, 32, 1), DATASET.train.files, 0)]
    assert json.loads((run / "report.json").read_text())["outside"]["sentence"] == "Blurred."
    assert "\nBlurred.\n" in capsys.readouterr().out


def test_what_was_deleted_of_a_finished_run_is_made_again(whole_run, tmp_path, capsys):
    shutil.copytree(whole_run, tmp_path / "left")
    run = tmp_path / "left"
    final = next(row.file for row in read_table(run) if row.is_final)
    lost = ("config.json", "report.json", "figures/samples.png", f"accepted/{final}")
    for name in lost:
        (run / name).unlink()
    shutil.rmtree(run / "events")
    train(tmp_path)
    assert read_all(run) == read_all(whole_run)
    out = capsys.readouterr().out
    assert "config.json: it is missing. The copy in the newest checkpoint" in out
    assert "figures/samples.png, report.json are gone: the end of the run is done again" in out
    train(tmp_path)
    assert "is finished: 3 epochs. Nothing to do" in capsys.readouterr().out
    (run / "accepted" / final).unlink()
    train(tmp_path)
    assert f"{final} is gone: the end of the run is done again" in capsys.readouterr().out
    assert read_all(run) == read_all(whole_run)
    shutil.rmtree(run / "checkpoints")
    (run / "figures" / "losses.png").unlink()
    before = read_all(run)
    with pytest.raises(UserError, match="is finished and holds no checkpoint"):
        train(tmp_path)
    assert read_all(run) == before


def test_two_devices_give_the_same_run(begun):
    one, two = (restore_newest(begun[num])[1] for num in (1, 2))
    assert compute_difference(one, two) < 1e-5


@pytest.mark.parametrize(("first", "then"), [(2, 1), (1, 2)])
def test_a_run_begun_on_so_many_devices_goes_on_with_others(
    whole_run, begun, tmp_path, first, then
):
    shutil.copytree(begun[first], tmp_path / "left")
    step, state = restore_newest(train(tmp_path, num_devices=then))
    assert step == 5
    assert compute_difference(state, restore_newest(whole_run)[1]) < 1e-5


def test_a_rule_that_nothing_passes_ends_with_a_sentence(untrained, tmp_path, capsys):
    settings = make_dcgan_settings(selection={"threshold": 1.5, "max_tries": 20})
    run = train(tmp_path, settings)
    out = capsys.readouterr().out
    assert (
        "Could not reach 11 images of class left with rule paper_text at threshold 1.5 in 24 tries"
        in out
    )
    assert re.search(r"24 tries with the generator of epoch \d: 0 are kept\.", out)
    assert "in another --workdir with a lower --threshold or --accept=none keeps more" in out
    assert (run / "figures" / "real_beside_kept.png").is_file()


def test_top_k_chooses_the_best_of_the_finished_generator(untrained, tmp_path):
    selection = {"rule": "top_k", "max_tries": 20, "num_accept": 11}
    settings = make_dcgan_settings(num_epochs=1, selection=selection)
    rows = read_table(train(tmp_path, settings))
    assert len(rows) == 11
    assert all(row.is_final and row.rule == "top_k" for row in rows)
    first = 2 * settings.batch_size
    state = create_state(settings, create_keys(settings.seed).init)
    sampler, networks = make_sampler(settings), get_networks(settings, state)
    samples = sampler.draw_scored(networks, first, 20)
    logits = sampler.score(networks, samples.images)
    assert {row.seed for row in rows} == set(samples.seeds[np.argsort(-logits)[:11]])


@pytest.mark.parametrize("rule", ["k_means", "farthest_point"])
def test_diverse_images_of_the_finished_generator_are_chosen_by_the_seed(rule, untrained, tmp_path):
    selection = {"rule": rule, "max_tries": 20, "num_accept": 11, "truncation": 0.6}
    settings = make_dcgan_settings(num_epochs=1, selection=selection, seed=3)
    rows = read_table(train(tmp_path, settings))
    assert all(row.is_final and row.rule == rule for row in rows)
    sampler = make_sampler(settings).vary(truncation=0.6)
    networks = get_networks(settings, create_state(settings, create_keys(settings.seed).init))
    samples = sampler.draw_scored(networks, 2 * settings.batch_size, 20)
    features = QualityMeter(DATASET.train.of_class(0).images).features(samples.images)
    chosen = choose_diverse(rule, features, 11, seed=3)
    assert [row.seed for row in rows] == samples.seeds[chosen].tolist()
    np.testing.assert_allclose([row.score for row in rows], samples.scores[chosen], rtol=1e-5)
    kept = [read_png(tmp_path / "left" / "accepted" / row.file) for row in rows]
    np.testing.assert_array_equal(np.stack(kept), samples.images[chosen][..., 0])


@pytest.mark.parametrize("rule", ["top_k", "k_means", "farthest_point"])
def test_a_rule_that_chooses_and_tries_too_few_names_what_limits_it(
    rule, untrained, tmp_path, capsys
):
    selection = {"rule": rule, "max_tries": 5}
    run = train(tmp_path, make_dcgan_settings(num_epochs=1, selection=selection))
    assert len(read_table(run)) == 5
    out = capsys.readouterr().out
    assert f"with rule {rule} in 5 tries with the generator of epoch" in out
    assert "with a larger config.selection.max_tries or --accept=none keeps more" in out
    assert "--threshold" not in out


@pytest.mark.parametrize(
    ("targets", "num_accept", "kept", "sentence"),
    [
        ({"left": 3, "other": 9}, 0, 11, "classes left, other. The classes here are left, r"),
        ({"left": 3, "right": 9}, 4, 4, None),
        ({}, 0, 11, None),
    ],
)
def test_a_table_s_numbers_are_for_the_classes_it_is_of(
    targets, num_accept, kept, sentence, untrained, tmp_path, capsys
):
    selection = {"rule": "none", "targets": targets, "num_accept": num_accept}
    run = train(tmp_path, make_dcgan_settings(num_epochs=1, selection=selection))
    assert len(read_table(run)) == kept
    out = capsys.readouterr().out
    assert ("config.selection.targets" in out) == (sentence is not None)
    assert (sentence or "") in out


def test_a_table_s_numbers_are_for_its_classes_however_they_are_written(short):
    run, said = short
    assert len(read_table(run)) == 3
    assert "config.selection.targets: 3 of left, 9 of right." in said


def test_a_logit_does_not_depend_on_the_neighbours(whole_run):
    networks = get_networks(SETTINGS, restore_newest(whole_run)[1])
    images, sampler = DATASET.train.images, make_sampler(SETTINGS)
    together = sampler.score(networks, images)
    assert together.std() > 0
    alone = [sampler.score(networks, images[i : i + 1])[0] for i in range(3)]
    np.testing.assert_allclose(alone, together[:3], atol=1e-5)


def test_a_calibrated_run_draws_at_its_end_and_never_sees_the_validation_images(
    tmp_path, capsys, monkeypatch
):
    monkeypatch.setattr(module, "list_rulers", lambda: ())  # the outside one takes minutes here
    settings = make_dcgan_settings(
        num_epochs=1, diffaugment=False, selection={"rule": "calibrated"}
    )
    data = make_dataset(num_train=80)  # a tenth of a class is enough to calibrate with
    splits = {"train": data.train, "val": object()}  # whatever is done with it fails
    rows = read_table(train(tmp_path, settings, dataset=replace(data, splits=splits)))
    out = capsys.readouterr().out
    assert "The GAN of class left does not learn from 4 of its 40 training images" in out
    assert "on the 36 training images" in out
    assert len(rows) == 36
    assert all(row.is_final and row.rule == "calibrated" for row in rows)
    first = 2 * settings.batch_size
    assert {row.seed for row in rows} <= set(range(first, first + 64))


def test_augmentation_is_shown_where_it_is_on_and_only_there(
    whole_run, short, tmp_path, monkeypatch
):
    assert SETTINGS.gan.diffaugment
    with Image.open(whole_run / "figures" / "augmented.png") as figure:
        assert figure.width > figure.height > 200
    assert not (short[0] / "figures" / "augmented.png").exists()
    shown = []
    monkeypatch.setattr(drawing, "plot_rows", lambda rows, path, title: shown.append(rows))
    shutil.copytree(whole_run, tmp_path / "left")
    (tmp_path / "left" / "figures" / "augmented.png").unlink()
    run = train(tmp_path)  # the end of it, once more
    real, real_seen, generated_seen, generated = (images for _, images in shown[-1])
    np.testing.assert_array_equal(real, DATASET.train.of_class(0).images[:8])
    np.testing.assert_array_equal(generated, draw_from_run(run, num=8))
    for before, after in ((real, real_seen), (generated, generated_seen)):
        assert (before != after).any(axis=(1, 2, 3)).all()


def test_an_unknown_class_names_those_there_are(tmp_path):
    with pytest.raises(UserError, match=r"no class 'up' in made: the classes are left, right"):
        train_gan(SETTINGS, dataset=DATASET, class_name="up", workdir=tmp_path)


def test_another_configs_folder_is_refused_and_left_alone(whole_run):
    before = read_all(whole_run)
    with pytest.raises(UserError, match=r"settings.seed was 0 and is 1"):
        train(whole_run.parent, replace(SETTINGS, seed=1))
    assert read_all(whole_run) == before


def test_a_batch_that_devices_can_not_share_has_its_sentence(tmp_path):
    with pytest.raises(UserError, match="multiple of 2"):
        train_gan(
            replace(SETTINGS, batch_size=7),
            dataset=DATASET,
            class_name="left",
            workdir=tmp_path,
            num_devices=2,
        )
    with pytest.raises(UserError, match="JAX sees 2"):
        train_gan(SETTINGS, dataset=DATASET, class_name="left", workdir=tmp_path, num_devices=9)
    assert not (tmp_path / "left").exists()


def test_sampling_writes_what_was_asked_for(whole_run, tmp_path, capsys):
    sample_run(whole_run, tmp_path / "all", num=10)
    names = sorted(path.name for path in (tmp_path / "all").iterdir())
    assert names == ["grid.png", "samples.json", *[f"seed_{i:07d}.png" for i in range(10)]]
    sample_run(whole_run, tmp_path / "few", num=10, threshold=2.0, max_tries=16)
    assert "Could not reach 10 images with D(G(z)) >= 2 in 16 tries" in capsys.readouterr().out
    with pytest.raises(UserError, match="--num is 0"):
        sample_run(whole_run, tmp_path / "none", num=0)
    with pytest.raises(UserError, match="not the folder of a run"):
        sample_run(tmp_path, tmp_path / "none", num=1)


def test_a_run_of_another_version_can_be_read_where_its_settings_suffice(whole_run, tmp_path):
    old = tmp_path / "old"
    shutil.copytree(whole_run, old)
    record = json.loads((old / "config.json").read_text())
    del record["settings"]["checkpoint_every_seconds"]
    (old / "config.json").write_text(json.dumps(record))
    assert len(draw_from_run(old, num=2)) == 2
    record["settings"]["gan"]["generator_loss"] = record["settings"]["gan"].pop("objective")
    (old / "config.json").write_text(json.dumps(record))
    sentence = r"version of jaxgan.*gan.generator_loss is not known.*gan.objective is missing"
    with pytest.raises(UserError, match=sentence):
        draw_from_run(old, num=2)


def test_a_critics_score_is_no_probability(tmp_path, capsys):
    settings = make_dcgan_settings(
        num_epochs=1,
        objective="wasserstein",
        diffaugment=False,
        measure_every_epochs=0,
        selection={"rule": "none"},
    )
    run = train(tmp_path, settings)
    for line in read_metrics(run):
        assert {"d_score_real", "d_score_fake", "d_score_fake_after"} <= set(line)
        assert not {"d_real", "d_fake", "d_fake_after"} & set(line)
    said = capsys.readouterr().out
    assert "score of G(z)" in said and "D(G(z))" not in said
    sample_run(run, tmp_path / "out", num=2)
    with pytest.raises(UserError, match=r"with cross-entropy.*\(wasserstein: .*set --accept=none"):
        sample_run(run, tmp_path / "out", num=2, threshold=0.5)


def test_the_config_says_which_data_and_class(whole_run):
    record = json.loads((whole_run / "config.json").read_text())
    assert record["class"] == "left"
    assert record["data"] == {"name": "made", "fingerprint": "f" * 64}
    assert record["settings"]["batch_size"] == 8


def test_the_state_has_no_key_in_it():
    state = create_state(SETTINGS, jax.random.key(0))
    assert not any(
        jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key) for leaf in jax.tree.leaves(state)
    )
