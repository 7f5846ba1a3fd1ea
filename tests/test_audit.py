"""The shortcut audit: quiet about noise, loud about what is planted; and where images come from."""

import math

import numpy as np
import pytest
from PIL import Image

from jaxgan.core.errors import UserError
from jaxgan.data.fit import fit_square
from jaxgan.data.sets import Dataset, ImageSet
from jaxgan.study import audit
from jaxgan.study.audit import Audit, count_effective, guess_by_source, run_probes
from jaxgan.study.sources import read_sources
from tests.helpers import make_image_set

NUM = 150
FOLDS = np.arange(NUM) % 3


@pytest.fixture
def small_probes(monkeypatch):
    monkeypatch.setattr(audit, "PROBE_SIDE", 8)


def make_null(seed):
    """150 smooth images of three classes, which the images say nothing of."""
    rng = np.random.default_rng(seed)
    smooth = np.kron(rng.standard_normal((NUM, 4, 4)), np.ones((4, 4)))
    pixels = 128 + 40 * smooth + 20 * rng.standard_normal((NUM, 16, 16))
    labels = rng.permutation(np.arange(NUM, dtype=np.int32) % 3)
    files = tuple(f"{i}.png" for i in range(NUM))
    return ImageSet(pixels.clip(0, 255).astype(np.uint8)[..., None], labels, files, files)


def draw_by_chance(seed):
    """What three views give a classifier that guesses 50 images of each of three classes."""
    guesses = np.random.default_rng(seed).binomial(50, 1 / 3, size=(3, 3)) / 50
    return dict(zip(("whole", "frame", "centre_black"), guesses.mean(axis=1).tolist(), strict=True))


def test_noise_is_hardly_ever_called_a_shortcut(small_probes):
    folds = np.arange(NUM) % 2
    warnings = [
        run_probes(make_null(seed), folds, draw_by_chance(seed), ()).describe()
        for seed in range(40)
    ]
    assert sum(warning is not None for warning in warnings) <= 2


@pytest.mark.parametrize("seed", range(5))
def test_a_frame_that_tells_everything_always_is(small_probes, seed):
    images = make_null(seed)
    images.images[:, 0] = 80 * images.labels[:, None, None]
    found = run_probes(images, FOLDS, draw_by_chance(seed), ())
    assert "linear probe on the" in found.describe()
    assert found.explained[1] > 0.9


def pad(images, aspects):
    """The same images between black margins, as films of these proportions come out."""
    padded = np.zeros_like(images.images)
    for i, aspect in enumerate(aspects):
        film = Image.fromarray(images.images[i, :, :, 0].clip(1)).resize((int(160 * aspect), 160))
        padded[i, :, :, 0] = np.asarray(fit_square(film, 16, "pad"))
    return ImageSet(padded, images.labels, images.files, images.patients)


def test_margins_are_measured():
    images = np.zeros((3, 8, 8, 3), np.uint8)
    images[0, 1:8, 2:4, 1] = 7
    images[1] = 1
    found = audit.compute_margins(images)
    assert found.tolist() == [[1 / 8, 0, 2 / 8, 4 / 8], [0] * 4, [1] * 4]


@pytest.mark.parametrize("seed", range(3))
def test_proportions_that_tell_the_class_are_found_where_images_are_padded(small_probes, seed):
    """Nothing but the width of the margins tells it, as of films of two devices."""
    images = make_null(seed)
    by_class = pad(images, 0.5 + 0.2 * images.labels)
    found = run_probes(by_class, FOLDS, {}, (), is_padded=True)
    assert found.probe["padding"] > 0.95
    assert "padding" not in run_probes(by_class, FOLDS, {}, ()).probe
    by_chance = pad(images, 0.5 + 0.2 * np.random.default_rng(seed).permutation(images.labels))
    assert run_probes(by_chance, FOLDS, {}, (), is_padded=True).probe["padding"] < 0.55


def test_a_padding_that_tells_everything_comes_before_the_verdict():
    whole, padding = {"whole": 0.9, "padding": 0.9}, {"whole": 0.9, "padding": 0.34}
    assert "black margins that --fit=pad leaves" in Audit(1 / 3, whole, {}, {}, 150).describe()
    assert Audit(1 / 3, padding, {}, {}, 150).describe() is None


def test_sources_that_padding_tells_apart_are_found(small_probes):
    images = make_null(0)
    sources = [f"hospital {n % 2}" for n in range(NUM)]
    padded = pad(images, 0.5 + 0.3 * (np.arange(NUM) % 2))
    found = run_probes(padded, np.arange(NUM) // 50, {}, sources, is_padded=True)
    assert found.sources["told_by_padding"] > 0.95
    alone = run_probes(padded, FOLDS, {}, ["one"] * NUM, is_padded=True)
    assert "told_by_padding" not in alone.sources


def make_audit(whole, frame, num, sources=None):
    return Audit(1 / 3, {"whole": whole, "frame": frame}, {}, sources or {}, num)


def test_the_whole_image_has_to_be_above_chance():
    # 1.96 sqrt(2 / 9 / 150) = 7.5 points; the shortcut itself is far above chance
    assert make_audit(0.40, 0.60, 150).explained is None
    assert make_audit(0.42, 0.60, 150).describe().startswith("Beware of a shortcut")
    assert make_audit(0.37, 0.37, math.inf).explained is None  # certain, and too little to matter


def test_the_shortcut_has_to_be_above_chance_too_and_more_so_where_many_are_looked_at():
    assert make_audit(0.45, 0.40, 150).explained is None
    assert make_audit(0.45, 0.42, 150).describe() is not None
    many = {"whole": 0.45, **dict.fromkeys(("frame", "centre_black", "intensities"), 0.42)}
    assert Audit(1 / 3, many, {}, {}, 150).explained is None  # 2.39 sqrt(2 / 9 / 150) = 9.2 points


def test_films_of_a_patient_are_one_case():
    labels = np.array([0] * 8 + [1] * 4)
    patients = [f"p{i // 2}" for i in range(12)]  # 4 patients and 2
    assert count_effective(labels, patients) == pytest.approx(4 / (1 / 4 + 1 / 2))
    assert count_effective(labels, [str(i) for i in range(12)]) > count_effective(labels, patients)


def test_a_source_that_lies_in_one_fold_has_no_figures():
    images, folds = make_image_set(60), np.arange(60) // 2 % 3
    sources = np.where(folds == 1, "here", "there")
    within = run_probes(images, folds, {}, sources.tolist()).sources["within"]
    assert within["here"] == {
        "count": 20,
        "num_classes": 2,
        "balanced_accuracy": None,
        "chance": None,
    }
    assert within["there"]["balanced_accuracy"] > 0.95


def test_what_the_source_alone_tells_is_found_out_of_fold():
    labels, sources, folds = (np.arange(12) % 2, np.arange(12) // 6, np.arange(12) // 2 % 3)
    assert guess_by_source(labels, labels, folds).tolist() == labels.tolist()
    assert guess_by_source(labels, sources, folds).tolist() == [0] * 12
    everyone = guess_by_source(labels, np.arange(12), folds)  # a source each: nothing to go by
    assert np.mean(everyone == labels) == 0.5


def test_a_class_is_not_guessed_for_being_frequent():
    labels = np.array([0] * 90 + [1] * 30)
    sources = np.array([0] * 70 + [1] * 20 + [1] * 16 + [0] * 14)  # class 0 leads in both
    guessed = guess_by_source(labels, sources, np.arange(120) % 3)
    assert guessed.tolist() == sources.tolist()


def test_a_source_that_tells_the_class_comes_before_the_verdict():
    images, folds = make_image_set(60), np.arange(60) // 2 % 3
    by_class = [("north", "south")[label] for label in images.labels]
    confounded = run_probes(images, folds, {}, by_class)
    assert confounded.sources["class_told_by_source"] == 1.0
    assert "the source alone, without the image, reaches 100%" in confounded.describe()
    mixed = run_probes(images, folds, {}, ["north", "north", "south", "south"] * 15)
    assert mixed.sources["class_told_by_source"] == 0.5
    assert "source" not in (mixed.describe() or "")
    one = run_probes(images, folds, {}, ["north"] * 60)
    assert one.sources["class_told_by_source"] is None


def test_the_source_is_held_against_the_better_whole_image():
    told = {"class_told_by_source": 0.5}
    assert make_audit(0.60, 1 / 3, 600, told).describe().startswith("Beware of the source")
    better = Audit(1 / 3, {"whole": 0.60}, {"whole": 0.80}, told, 600)
    assert better.explained_by_source == pytest.approx(0.1667 / 0.4667, rel=0.01)
    assert better.describe() is None
    assert make_audit(0.34, 1 / 3, 600, told).describe() is None  # nothing there to explain


# Where images come from ------------------------------------------------------------------------


@pytest.fixture
def dataset():
    images = make_image_set(4)
    return Dataset(
        "folder",
        ("left", "right"),
        {"train": images.take(np.array([2, 0, 1])), "val": images.take(np.array([3]))},
        "0",
    )


def write_manifest(folder, text):
    (folder / "manifest.csv").write_text(text)


def test_the_source_is_read_in_the_order_of_the_images(tmp_path, dataset):
    write_manifest(tmp_path, "file,hospital\n0.png,A\n1.png,B\n2.png,C\n")
    assert read_sources(tmp_path, dataset, None) == ("C", "A", "B", "unknown")


def test_an_empty_cell_is_an_unknown_source(tmp_path, dataset):
    write_manifest(tmp_path, "file,site\n./0.png, A\n1.png, \n2.png,C\n3.png,D\n")
    assert read_sources(tmp_path, dataset, None) == ("C", "A", "unknown", "D")


def test_the_column_that_is_asked_for_is_read(tmp_path, dataset):
    write_manifest(tmp_path, "file,source,scanner\n0.png,A,x\n1.png,B,y\n2.png,C,z\n3.png,D,x\n")
    assert read_sources(tmp_path, dataset, None) == ("C", "A", "B", "D")
    assert read_sources(tmp_path, dataset, "scanner") == ("z", "x", "y", "x")


def test_the_source_is_read_of_a_table_as_patients_are(tmp_path, dataset):
    (tmp_path / "images").mkdir()
    text = "Image Index;Hospital\nfilms/0.png;A\n1;B\n2.png;C\n"
    (tmp_path / "images" / "Manifest.csv").write_text(text)
    assert read_sources(tmp_path, dataset, None) == ("C", "A", "B", "unknown")
    assert read_sources(tmp_path, dataset, "HOSPITAL") == ("C", "A", "B", "unknown")


def test_no_source_is_known_without_such_a_column(tmp_path, dataset):
    assert read_sources(None, dataset, None) == ()
    assert read_sources(tmp_path, dataset, None) == ()
    write_manifest(tmp_path, "file,scanner\n0.png,x\n")
    assert read_sources(tmp_path, dataset, None) == ()


def test_a_column_that_is_not_there_is_refused(tmp_path, dataset):
    with pytest.raises(UserError, match=r"--source_column=ward needs a manifest\.csv"):
        read_sources(tmp_path, dataset, "ward")
    write_manifest(tmp_path, "file,scanner\n0.png,x\n")
    with pytest.raises(UserError, match=r"no column 'ward': it has file, scanner"):
        read_sources(tmp_path, dataset, "ward")
