"""What is said of a data set: copies on two sides or in two classes, and generated images."""

import re
import shutil

import numpy as np
import pytest
from PIL import Image

from jaxgan.core.errors import DiskError, UserError
from jaxgan.data import copies, guard
from jaxgan.data.folder import scan_folder
from jaxgan.data.images import has_mark, write_png
from jaxgan.data.source import DataSpec, load_dataset
from jaxgan.evaluation.subjects import load_folders
from jaxgan.reports import drawing, gan_figures
from tests.helpers import CXR, CXR_ABSENT
from tests.test_copies import draw, frame

NAMES = ("left", "right")


@pytest.fixture(scope="module")
def films():
    return draw(40, size=128)


def write_classes(root, films):
    """Twenty films of each class, each of a patient of his own."""
    for i, film in enumerate(films):
        folder = root / NAMES[i % 2]
        folder.mkdir(parents=True, exist_ok=True)
        write_png(film, folder / f"{i:02d}.png")
    return root


def write_jpeg(film, path):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(film[..., 0]).resize((150, 150)).save(path, quality=80)


def load(root, tmp_path, **spec):
    spec = DataSpec(data_dir=root, **spec)
    return load_dataset(spec, image_size=32, channels=1, cache_dir=tmp_path / "cache")


def find_notices(dataset, words):
    return [notice for notice in dataset.notices if words in notice]


def test_different_films_are_dealt_as_ever_and_nothing_is_said(films, tmp_path):
    dataset = load(write_classes(tmp_path / "data", films), tmp_path)
    risk, split = dataset.notices
    assert "No patient information" in risk and "set apart by image" in split


@pytest.mark.parametrize("change", ["jpeg", "mirrored", "framed", "bytes"])
def test_copies_are_put_on_one_side_of_a_split_that_is_made_here(films, tmp_path, change):
    root = write_classes(tmp_path / "data", films)
    for i, film in enumerate(films):
        copy = root / NAMES[i % 2] / f"zz_site_{99 - i:02d}.png"
        if change == "jpeg":
            write_jpeg(film, copy.with_suffix(".jpg"))
        elif change == "bytes":
            shutil.copy(root / NAMES[i % 2] / f"{i:02d}.png", copy)
        else:
            write_png(film[:, ::-1] if change == "mirrored" else frame(film), copy)
    dataset = load(root, tmp_path)

    def show(images):
        numbers = [file.split("/")[1].split(".")[0] for file in images.files]
        return {99 - int(n[-2:]) if n.startswith("zz") else int(n) for n in numbers}

    assert len(dataset.train) + len(dataset.val) == 80
    assert not show(dataset.train) & show(dataset.val)
    assert len(show(dataset.train) | show(dataset.val)) == 40
    (repeated,) = find_notices(dataset, "copies of others of their class")
    assert repeated.startswith("40 image(s)") and "zz_site_" in repeated
    assert find_notices(dataset, "all copies of a film are on one side")


def test_people_who_share_a_film_are_dealt_as_one(films, tmp_path):
    root = write_classes(tmp_path / "data", films)
    for i in range(10):
        write_jpeg(films[i], root / NAMES[i % 2] / f"zz_{i:02d}.jpg")
    files = sorted(path.relative_to(root).as_posix() for path in root.rglob("*.*"))
    rows = [f"{file},patient {number}" for number, file in enumerate(files)]
    (root / "manifest.csv").write_text("\n".join(["file,patient", *rows]) + "\n")
    for seed in range(3):
        dataset = load(root, tmp_path, split_seed=seed)
        sides = {f: name for name, s in dataset.splits.items() for f in s.files}
        for i in range(10):
            name = NAMES[i % 2]
            assert sides[f"{name}/{i:02d}.png"] == sides[f"{name}/zz_{i:02d}.jpg"]


def test_copies_across_the_users_own_split_are_counted_and_named(films, tmp_path):
    root = tmp_path / "data"
    write_classes(root / "train", films[:30])
    write_classes(root / "val", films[30:])
    write_jpeg(films[3], root / "val" / "right" / "again.jpg")
    write_jpeg(films[5], root / "val" / "right" / "more.jpg")
    dataset = load(root, tmp_path)
    (notice,) = find_notices(dataset, "also in train")
    assert notice.startswith("2 image(s) of val are also in train (such as ")
    assert "val/right/again.jpg of train/right/03.png" in notice
    assert not find_notices(dataset, "on one side")
    (root / "val").rename(root / "test")  # a name that sorts before train's
    told = " ".join(load(root, tmp_path).notices)
    counts = re.findall(r"(\d+) image\(s\) of test are also in (?:train|val)", told)
    assert sum(map(int, counts)) == 2 and "of train are also in" not in told
    assert "on one side" in told


def test_two_classes_of_the_same_films_are_said(films, tmp_path):
    root = write_classes(tmp_path / "data", films)
    for path in sorted((root / "left").iterdir())[:12]:
        shutil.copy(path, root / "right" / f"other_{path.name}")
    dataset = load(root, tmp_path)
    (notice,) = find_notices(dataset, "more than one class")
    assert notice.startswith("12 film(s) are in more than one class (12 in left and right; ")
    assert "left/00.png and right/other_00.png" in notice


def test_two_visits_of_one_patient_may_look_alike(films, tmp_path):
    root = write_classes(tmp_path / "data", films)
    write_jpeg(films[0], root / "left" / "00_later.jpg")
    dataset = load(root, tmp_path, patient_pattern=r"^\d+")
    assert not find_notices(dataset, "copies")
    assert load(root, tmp_path).fingerprint != dataset.fingerprint


def test_too_few_films_are_left_once_copies_are_one(films, tmp_path):
    root = tmp_path / "data"
    write_classes(root, films[:20])
    for path in sorted((root / "right").iterdir()):
        write_png(films[1], path)
    with pytest.raises(UserError, match=r"'right'.*copies of one another count as one.* 11 of"):
        load(root, tmp_path)


def test_the_search_is_done_once_a_content_and_a_limit_is_said(films, tmp_path, monkeypatch):
    root = write_classes(tmp_path / "data", films)
    write_jpeg(films[0], root / "left" / "again.jpg")
    first = load(root, tmp_path)
    assert find_notices(first, "copies of others")
    moved = tmp_path / "moved" / "data"
    moved.parent.mkdir()
    root.rename(moved)
    with monkeypatch.context() as patch:
        patch.setattr(guard, "match_among", None)
        again = load(moved, tmp_path)
    assert again.notices == first.notices and again.fingerprint == first.fingerprint
    monkeypatch.setattr(copies.choose_searched, "__defaults__", (20,))
    shutil.rmtree(tmp_path / "cache")
    (limited,) = find_notices(load(moved, tmp_path), "Searched for copies")
    assert "20 of the 41 images, drawn at random" in limited


def test_films_shown_otherwise_are_searched_anew(films, tmp_path):
    root = tmp_path / "data"
    for i, film in enumerate(films):
        (root / NAMES[i % 2]).mkdir(parents=True, exist_ok=True)
        Image.fromarray(film[..., 0].astype(np.uint16) * 16).save(root / NAMES[i % 2] / f"{i}.png")
    Image.fromarray(films[0][:, ::-1, 0].astype(np.uint16) * 16).save(root / "left" / "again.png")
    black = load(root, tmp_path, value_range="60000,65535")
    assert not find_notices(black, "copies of others")
    assert find_notices(load(root, tmp_path, value_range="0,4095"), "copies of others")


def test_where_the_cache_can_not_be_written_copies_are_found_all_the_same(
    films, tmp_path, monkeypatch
):
    root = write_classes(tmp_path / "data", films)
    write_jpeg(films[0], root / "left" / "again.jpg")

    def refuse(path):
        raise DiskError(f"{path} can not be written")

    monkeypatch.setattr(guard, "written_beside", refuse)
    assert find_notices(load(root, tmp_path), "copies of others")


def test_names_in_a_notice_begin_no_line(films, tmp_path):
    root = write_classes(tmp_path / "data", films)
    for name in ("left", "right"):
        shutil.copy(root / "left" / "00.png", root / name / "a\nb.png")
    notices = load(root, tmp_path).notices
    assert any(r"a\nb.png" in notice for notice in notices)
    assert not any("\n" in notice for notice in notices)


# Generated images ------------------------------------------------------------------------------


def write_generated(films, folder):
    """A generated image, a sheet of them, and figures that show some."""
    folder.mkdir(parents=True, exist_ok=True)
    write_png(films[0], folder / "image.png", generated=True)
    drawing.write_grid(films[:4], folder / "sheet.png")
    gan_figures.plot_real_beside_generated(films[:2], films[2:4], folder / "beside.png", title="")
    drawing.plot_rows([("row", films[:2])], folder / "rows.png", title="")
    return ["beside.png", "image.png", "rows.png", "sheet.png"]


def test_all_that_jaxgan_draws_bears_its_mark(films, tmp_path):
    for name in write_generated(films, tmp_path):
        assert has_mark((tmp_path / name).read_bytes()), name
    write_png(films[0], tmp_path / "real.png")
    assert not has_mark((tmp_path / "real.png").read_bytes())


def test_generated_images_and_sheets_are_no_data(films, tmp_path):
    root = write_classes(tmp_path / "data", films)
    names = write_generated(films, root / "left")
    with pytest.raises(UserError, match="4 images of 44 cannot be used") as error:
        load(root, tmp_path)
    for name in names:
        assert f"left/{name} was generated by jaxgan" in str(error.value)
    dataset = load(root, tmp_path, skip_bad_images=True)
    assert len(dataset.train) + len(dataset.val) == 40
    assert sorted(file for file, _ in dataset.skipped) == [f"left/{name}" for name in names]


def test_generated_images_are_not_compared_with_as_real_ones(films, tmp_path):
    against, held_out = write_classes(tmp_path / "a", films), tmp_path / "b"
    write_classes(held_out, draw(40, first=50, size=128))
    load_folders(against, against, held_out)
    for root in (against, held_out):
        write_png(films[0], root / "left" / "made.png", generated=True)
        with pytest.raises(UserError, match=r"1 of 41 image.* generated by.*left/made.png"):
            load_folders(against, against, held_out)
        (root / "left" / "made.png").unlink()


def test_copies_in_a_folder_that_is_compared_are_said(films, tmp_path, capsys):
    root = write_classes(tmp_path / "a", films)
    for i in range(0, 40, 2):
        write_jpeg(films[i], root / "right" / f"{i:02d}_again.jpg")
    load_folders(root, root, None)
    said = capsys.readouterr().out
    assert "20 film(s) are in more than one class (20 in left and right; such as" in said


@pytest.mark.skipif(not CXR.is_dir(), reason=CXR_ABSENT)
def test_real_films_give_no_false_alarm(tmp_path):
    from jaxgan.data.builders import prepare_folder

    scan = scan_folder(CXR)
    prepared = prepare_folder(scan, channels=1, stored_side=512, cache=tmp_path)
    numbers, unsearched = guard.number_films(prepared, tmp_path)
    assert len(np.unique(numbers)) == len(scan.images) and unsearched is None
