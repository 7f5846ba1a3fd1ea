"""Which images a reader study shows: equal numbers, held out, a patient at most once."""

import base64
import dataclasses
import io

import numpy as np
import pytest
from PIL import Image

from jaxgan.core.errors import UserError
from jaxgan.data.images import write_png
from jaxgan.data.sets import Dataset, ImageSet
from jaxgan.experiments import reader_study
from jaxgan.sampling.runs import draw_from_run
from tests import forks
from tests.helpers import write_run
from tests.test_reader_page import read_study


def make_films(num, seed, patients=None, known=True):
    """Noise: no image is a copy of another. The classes are left and right in turn."""
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 256, (num, 32, 32, 1), np.uint8)
    files = tuple(f"{seed}_{i}.png" for i in range(num))
    labels = np.arange(num, dtype=np.int32) % 2
    return ImageSet(images, labels, files, patients or files, np.full(num, known))


def make_dataset(num_val=60, **options):
    splits = {"train": make_films(30, 0), "val": make_films(num_val, 1, **options)}
    return Dataset("made", ("left", "right"), splits, fingerprint="f" * 64)


def make_folder(path, num=40, seed=2):
    path.mkdir(parents=True)
    for i, image in enumerate(make_films(num, seed).images):
        write_png(image, path / f"{i}.png", generated=True)
    return reader_study.read_generated(path)


def show(generated, dataset, out, *, class_name="left", num_images=50, seed=0):
    options = {"class_name": class_name, "num_images": num_images, "seed": seed}
    return read_shown(reader_study.show_folder(generated, dataset, out, **options))


def read_shown(page):
    """The real and the generated images of a page."""
    study, kinds = read_study(page.read_text())
    pictures = [
        Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2]))) for uri in study["images"]
    ]
    images = np.stack([np.asarray(picture) for picture in pictures])[..., None]
    return images[~kinds], images[kinds]


def find(images, among):
    """The place of each image among others; each is there once."""
    places = [np.flatnonzero((among == image).all(axis=(1, 2, 3))) for image in images]
    assert all(len(place) == 1 for place in places)
    return [int(place[0]) for place in places]


def is_among(images, others):
    return any((others == image).all(axis=(1, 2, 3)).any() for image in images)


def test_a_page_has_as_many_real_as_generated_images_and_no_training_image(tmp_path, capsys):
    generated, data = make_folder(tmp_path / "g"), make_dataset()
    real, made = show(generated, data, tmp_path / "out")
    assert len(real) == len(made) == 25
    places = find(real, data.val.images)
    assert len(set(places)) == 25 and (data.val.labels[places] == 0).all()
    assert not is_among(real, data.train.images)
    assert len(set(find(made, generated.images))) == 25
    said = capsys.readouterr().out
    assert "25 generated, and 25 real ones of the validation split." in said
    assert "can not check that this GAN has not learned from the validation split" in said
    assert "With 32 right answers or more (64%), a reader is better than chance" in said
    assert "too few" not in said and "of a patient" not in said


def test_the_same_seed_gives_the_same_page_and_another_seed_another(tmp_path):
    generated, data = make_folder(tmp_path / "g"), make_dataset()
    pages = []
    for i, seed in enumerate((0, 0, 1)):
        show(generated, data, tmp_path / f"out{i}", seed=seed)
        pages.append((tmp_path / f"out{i}" / "reader_study.html").read_text())
    assert pages[0] == pages[1] != pages[2]
    other = make_folder(tmp_path / "h", seed=5)
    show(other, data, tmp_path / "other")
    pages.append((tmp_path / "other" / "reader_study.html").read_text())
    orders = [read_study(page)[1] for page in (pages[0], pages[-1])]
    assert (orders[0] != orders[1]).any()  # whoever knows one page's answers knows no other's


def test_a_patient_is_shown_once_where_that_is_possible(tmp_path, capsys):
    generated = make_folder(tmp_path / "g")
    patients = tuple(f"p{i % 40}" for i in range(60))  # 20 of each class: 20 left, some twice
    data = make_dataset(patients=patients)
    real, _ = show(generated, data, tmp_path / "few", num_images=40)
    shown = [patients[i] for i in find(real, data.val.images)]
    assert len(set(shown)) == 20
    assert "further images of a patient" not in capsys.readouterr().out
    show(generated, data, tmp_path / "many")
    said = capsys.readouterr().out
    assert "5 of the real images are further images of a patient shown already." in said
    show(generated, make_dataset(known=False), tmp_path / "unknown")
    assert "Patients are not known for all real images" in capsys.readouterr().out


def test_too_few_films_give_a_smaller_page_and_a_sentence(tmp_path, capsys):
    generated = make_folder(tmp_path / "g", num=9)
    real, made = show(generated, make_dataset(num_val=14), tmp_path / "out")
    assert len(real) == len(made) == 7
    assert "There are too few for 50 (--num_images)." in capsys.readouterr().out
    with pytest.raises(UserError, match="2 images of each kind: found 9 generated and 1 held-out"):
        show(generated, make_dataset(num_val=2), tmp_path / "none")
    assert not (tmp_path / "none").exists()


def test_a_held_out_copy_of_a_training_image_is_left_out(tmp_path, capsys):
    data = make_dataset(num_val=14)
    images = data.val.images.copy()
    images[4] = np.minimum(data.train.images[7].astype(int) + 2, 255)
    val = dataclasses.replace(data.val, images=images)
    data = dataclasses.replace(data, splits={**data.splits, "val": val})
    real, _ = show(make_folder(tmp_path / "g"), data, tmp_path / "out")
    assert len(real) == 6 and not is_among(real, images[4:5])
    said = capsys.readouterr().out
    assert "1 of the 7 held-out images of left are left out, because" in said
    assert "copies of training images (1_4.png)" in said


def test_a_split_that_jaxgan_has_made_is_refused_for_the_gan_of_a_stranger(tmp_path):
    data = dataclasses.replace(make_dataset(), val_was_made=True)
    with pytest.raises(UserError, match=r"has no validation split of its own.*val/CLASS.*--run="):
        show(make_folder(tmp_path / "g"), data, tmp_path / "out")


def test_real_images_in_the_place_of_generated_ones_are_refused(tmp_path):
    data = make_dataset()
    folder = tmp_path / "real"
    folder.mkdir()
    for i, image in enumerate(data.val.of_class(0).images):
        write_png(image, folder / f"{i}.png")
    with pytest.raises(UserError, match="of the 25 generated images are held-out real images"):
        show(reader_study.read_generated(folder), data, tmp_path / "out")


def test_the_class_is_asked_for_where_there_are_several(tmp_path):
    generated = make_folder(tmp_path / "g")
    with pytest.raises(UserError, match=r"Expected --class=NAME.*left, right"):
        show(generated, make_dataset(), tmp_path / "out", class_name=None)
    with pytest.raises(UserError, match="There is no class 'up' in made"):
        show(generated, make_dataset(), tmp_path / "out", class_name="up")


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ((None, None, "out", 50), "Expected either --run=FOLDER"),
        (("a", "b", "out", 50), "--generated=DIR, a folder of generated images: give one of them"),
        (("a", None, None, 50), "Expected --out=DIR"),
        (("a", None, "out", 7), "--num_images is 7, expected an even number from 4 to 500"),
        (("a", None, "out", 2), "--num_images is 2"),
        (("a", None, "out", 502), "--num_images is 502"),
    ],
)
def test_what_can_not_be_shown_is_refused_before_the_work(given, expected):
    with pytest.raises(UserError, match=expected):
        reader_study.check_asked(*given)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A run that has learned nothing, on data whose split jaxgan has made."""
    data = dataclasses.replace(make_dataset(), val_was_made=True)
    return write_run(tmp_path_factory.mktemp("reader"), dataset=data), data


def test_a_run_s_images_are_those_of_its_seeds(trained, tmp_path):
    run, data = trained
    page = reader_study.show_run(run, data, tmp_path, num_images=20, seed=3)
    real, made = read_shown(page)
    assert len(real) == len(made) == 10
    drawn = draw_from_run(run, num=10, seed=3)
    assert sorted(i.tobytes() for i in made) == sorted(i.tobytes() for i in drawn)
    assert not is_among(real, data.train.images)
    assert (data.val.labels[find(real, data.val.images)] == 0).all()


def test_a_run_of_other_data_and_of_all_classes_is_refused(trained, tmp_path):
    run, data = trained
    other = dataclasses.replace(data, fingerprint="e" * 64)
    with pytest.raises(UserError, match="was trained on other data or another split"):
        reader_study.show_run(run, other, tmp_path / "out", num_images=20, seed=0)
    with pytest.raises(UserError, match="Start with a seed from 0"):
        reader_study.show_run(run, data, tmp_path / "out", num_images=20, seed=-1)
    every = write_run(tmp_path, "all", dataset=data)
    with pytest.raises(UserError, match="is the run of all classes: give the folder of one"):
        reader_study.show_run(every, data, tmp_path / "out", num_images=20, seed=0)


def test_images_in_the_folder_of_a_run_belong_to_its_data(trained, tmp_path):
    run, data = trained
    folder = run / "accepted"
    folder.mkdir(exist_ok=True)
    for i, image in enumerate(make_films(12, 9).images):
        write_png(image, folder / f"{i}.png", generated=True)
    generated = reader_study.read_generated(folder)
    assert (generated.run, generated.image_size, generated.channels) == (run, 32, 1)
    real, _ = show(generated, data, tmp_path / "out", class_name=None, num_images=20)
    assert len(real) == 10 and not is_among(real, data.train.images)
    with pytest.raises(UserError, match="--class is right, but the images lie in the run of left"):
        show(generated, data, tmp_path / "out", class_name="right")
    with pytest.raises(UserError, match="--fit has no effect: the folder lies in a run"):
        reader_study.read_generated(folder, fit="pad")
    with pytest.raises(UserError, match="is the folder of a run: give it as --run="):
        reader_study.read_generated(run)


def test_the_launcher_writes_a_page_and_reads_answers(tmp_path):
    make_folder(tmp_path / "g")
    for split, num, seed in (("train", 48, 3), ("val", 16, 4)):
        films = make_films(num, seed)
        for image, label, file in zip(films.images, films.labels, films.files, strict=True):
            place = tmp_path / "data" / split / ("left", "right")[label]
            place.mkdir(parents=True, exist_ok=True)
            write_png(image, place / file)
    out = [f"--out={tmp_path / 'out'}", "--num_images=12", f"--cache_dir={tmp_path / 'cache'}"]
    flags = [f"--generated={tmp_path / 'g'}", f"--data_dir={tmp_path / 'data'}", "--class=left"]
    result = forks.run("reader_study", [*flags, *out])
    assert result.returncode == 0, result.stderr
    assert "12 images of left in random order: 6 generated, and 6 real" in result.stdout
    assert (tmp_path / "out" / "reader_study.html").exists()
    for given, sentence in (
        ([*flags, "--out=" + str(tmp_path / "data" / "x")], "lies in the data folder"),
        ([*flags, *out, "--checkpoint=best"], "--checkpoint has no effect"),
        ([*out], "Expected either --run=FOLDER"),
        ([f"--answers={tmp_path / 'a.json'}"], "There is no file"),
        ([f"--answers={tmp_path / 'a.json'}", "--seed=2"], "--seed has no effect: --answers only"),
    ):
        result = forks.run("reader_study", given)
        assert result.returncode == 2 and sentence in result.stderr, (given, result.stderr)
