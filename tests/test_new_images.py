"""Which images a folder holds, and what is known of each: nothing has to be there."""

import csv

import numpy as np
import pytest
from PIL import Image

from jaxgan.core.errors import UserError
from jaxgan.data.new_images import Asked, find_new_images, match_class

NAMES = ("left", "right")


def write(root, *files):
    for file in files:
        path = root / file
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.zeros((4, 4), np.uint8)).save(path)


def write_table(path, *rows):
    with path.open("w", newline="") as file:
        csv.writer(file).writerows(rows)


def find(root, **asked):
    return find_new_images(root, NAMES, Asked(**asked))


def test_folders_named_after_classes_are_the_true_classes(tmp_path):
    write(tmp_path, "val/left/a.png", "val/Right/b.png", "val/up/c.png")
    found = find(tmp_path)
    assert found.files == ("val/Right/b.png", "val/left/a.png", "val/up/c.png")
    assert found.classes == ("right", "left", "up")
    assert found.patients == (None,) * 3
    assert found.sources == ()
    assert "The true classes are those of the folders." in found.notices


def test_folders_that_name_no_class_say_nothing_unless_asked(tmp_path):
    write(tmp_path, "monday/a.png", "tuesday/b.png")
    assert find(tmp_path).classes == (None, None)
    assert find(tmp_path, labels_from="folders").classes == ("monday", "tuesday")
    assert find(tmp_path, labels_from="none").classes == (None, None)


def test_the_folder_itself_may_name_the_class(tmp_path):
    write(tmp_path, "left/a.png")
    assert find(tmp_path / "left").classes == (None,)
    assert find(tmp_path / "left", labels_from="folders").classes == ("left",)
    assert find(tmp_path / "left" / "a.png", labels_from="folders").classes == ("left",)
    write(tmp_path, "some/a.png")
    with pytest.raises(UserError, match=r"no folder in .*some names a class.*left, right"):
        find(tmp_path / "some", labels_from="folders")


def test_two_classes_on_one_way_are_refused(tmp_path):
    write(tmp_path, "left/right/a.png")
    with pytest.raises(UserError, match="lies in folders of two classes"):
        find(tmp_path)
    assert find(tmp_path, labels_from="none").classes == (None,)
    write_table(tmp_path / "manifest.csv", ("file", "class"), ("left/right/a.png", "right"))
    assert find(tmp_path, labels_from="manifest").classes == ("right",)
    assert find(tmp_path, label_column="class").classes == ("right",)


def test_folders_in_a_class_are_patients(tmp_path):
    write(tmp_path, "left/p1/a.png", "left/p1/b.png", "right/p2/c.png")
    found = find(tmp_path)
    assert found.classes == ("left", "left", "right")
    assert found.patients == ("left/p1", "left/p1", "right/p2")
    assert find(tmp_path, patient_pattern="p[0-9]").patients[0] == "p1"


def test_a_manifest_tells_class_patient_and_source_where_folders_do_not(tmp_path):
    write(tmp_path, "a.png", "b.png", "c.png", "d.png")
    rows = [("a.png", "LEFT", "P1", "York"), ("b.png", "up", "P1", ""), ("c.png", "", "P2", "Bonn")]
    head = ("file", "class", "patient", "hospital")
    write_table(tmp_path / "manifest.csv", head, *rows, ("d.png", "right", "P3", "Bonn"))
    found = find(tmp_path)
    assert found.classes == ("left", "up", None, "right")
    assert found.patients == ("P1", "P1", "P2", "P3")
    assert found.sources == ("York", "unknown", "Bonn", "Bonn")
    assert found.take([3, 0]).classes == ("right", "left")
    assert found.take([3, 0]).sources == ("Bonn", "York")
    assert find(tmp_path, label_column="hospital").classes[:2] == ("York", None)
    assert find(tmp_path, labels_from="none").classes == (None,) * 4


def test_a_manifest_above_the_folder_is_found_and_exact(tmp_path):
    """Files of one name in two splits are two files."""
    write(tmp_path, "train/left/a.png", "val/left/a.png")
    head = ("file", "class", "patient", "source")
    rows = [("train/left/a.png", "left", "P1", "x"), ("val/left/a.png", "right", "P2", "y")]
    write_table(tmp_path / "manifest.csv", head, *rows)
    found = find(tmp_path / "val", labels_from="manifest")
    assert (found.files, found.patients, found.sources) == (("left/a.png",), ("P2",), ("y",))
    assert found.classes == ("right",)
    one = find(tmp_path / "val" / "left" / "a.png", labels_from="manifest")
    assert (one.files, one.patients, one.classes) == (("a.png",), ("P2",), ("right",))
    assert any("Read from the folder above" in notice for notice in found.notices)


def test_a_manifest_above_that_is_of_other_files_is_not_ours(tmp_path):
    write(tmp_path, "new/a.png")
    write_table(tmp_path / "manifest.csv", ("file", "patient"), ("other.png", "P1"))
    assert find(tmp_path / "new").patients == (None,)
    (tmp_path / "manifest.csv").write_text("nothing")
    assert find(tmp_path / "new").patients == (None,)


@pytest.mark.parametrize(
    ("asked", "match"),
    [
        ({"labels_from": "manifest"}, "There is no table in .*such as manifest.csv"),
        ({"source_column": "site"}, "columns file and site"),
        ({"patient_column": "who"}, "the patient column 'who' was requested"),
    ],
)
def test_a_table_that_is_not_there_has_its_sentence(tmp_path, asked, match):
    write(tmp_path, "a.png")
    with pytest.raises(UserError, match=match):
        find(tmp_path, **asked)


def test_a_column_that_is_not_there_has_its_sentence(tmp_path):
    write(tmp_path, "a.png")
    write_table(tmp_path / "manifest.csv", ("file", "patient"), ("a.png", "P1"))
    with pytest.raises(UserError, match=r"There is no column 'site': .*has file, patient"):
        find(tmp_path, source_column="site")
    with pytest.raises(UserError, match="There is no column that names the class"):
        find(tmp_path, labels_from="manifest")


def test_answers_that_exclude_each_other_are_refused():
    with pytest.raises(UserError, match="expected one of auto, folders"):
        Asked(labels_from="names")
    with pytest.raises(UserError, match="give one of them"):
        Asked(labels_from="folders", label_column="class")


def test_masks_sheets_and_other_files_are_left_out_and_named(tmp_path):
    write(tmp_path, "left/a.png", "left/masks/a.png", "grid.png")
    (tmp_path / "left" / "notes.txt").write_text("x")
    found = find(tmp_path)
    assert found.files == ("left/a.png",)
    said = " ".join(found.notices)
    assert "masks" in said and "notes.txt" in said and "grid.png" in said


def test_a_class_may_have_a_name_like_a_folder_of_masks(tmp_path):
    write(tmp_path, "no_mask/a.png", "mask/masks/b.png", "labels/c.png")
    found = find_new_images(tmp_path, ("mask", "no_mask"), Asked())
    assert found.files == ("no_mask/a.png",)
    assert found.classes == ("no_mask",)


def test_what_is_no_image_has_its_sentence(tmp_path):
    with pytest.raises(UserError, match=r"There is no .*x: expected a folder of images, or"):
        find(tmp_path / "x")
    with pytest.raises(UserError, match="There are no images in"):
        find(tmp_path)
    (tmp_path / "a.txt").write_text("x")
    with pytest.raises(UserError, match=r"a.txt is not an image"):
        find(tmp_path / "a.txt")


def test_a_link_that_leads_out_is_refused(tmp_path):
    write(tmp_path, "away/b.png", "new/a.png")
    (tmp_path / "new" / "link").symlink_to(tmp_path / "away")
    with pytest.raises(UserError, match=r"leads out of .*--follow_links"):
        find(tmp_path / "new")
    assert len(find(tmp_path / "new", follow_links=True)) == 2
    assert len(find(tmp_path / "new", leave_out=("link",))) == 1


def test_a_class_is_matched_in_any_case_and_as_its_run_is_called():
    assert match_class(" Left ", NAMES) == "left"
    assert match_class("a/b", ("a-b",)) == "a-b"
    assert match_class("LEFT", ("left", "Left")) is None
    assert match_class("up", NAMES) is None
