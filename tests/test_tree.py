"""How trees of folders are read, as people have them: through `scan_folder`, which tells all."""

from collections import Counter
from pathlib import Path

import pytest

from jaxgan.core.errors import UserError
from jaxgan.data import tree
from jaxgan.data.folder import scan_folder


def fill(folder: Path, count: int = 12) -> Path:
    """Make `count` files that are named like images; the scan does not decode them."""
    folder.mkdir(parents=True, exist_ok=True)
    for n in range(count):
        (folder / f"{folder.name}-{n:03d}.png").write_bytes(b"x")
    return folder


def count(root: Path, **options) -> dict[tuple[str, str], int]:
    """Return how many images there are of each split and class."""
    scan = scan_folder(root, **options)
    return dict(Counter((image.split, scan.class_names[image.label]) for image in scan.images))


@pytest.mark.parametrize(
    "names",
    [
        ("Train", "Val", "Test"),
        ("training", "valid", "testing"),
        ("TRAIN", "validation", "TEST_SET"),
        ("train-set", "Dev", "Testing"),
        ("Training Data", "Validation Set", "test"),
    ],
)
def test_splits_have_many_names(tmp_path, names):
    for name, num in zip(names, (12, 3, 2), strict=True):
        for label in ("clear", "haze"):
            fill(tmp_path / name / label, num)
    scan = scan_folder(tmp_path)
    assert scan.splits == ("train", "val", "test") and scan.class_names == ("clear", "haze")
    assert sorted(count(tmp_path).values()) == [2, 2, 3, 3, 12, 12]
    assert count(tmp_path)["val", "haze"] == 3


def test_two_folders_that_mean_one_split_are_refused(tmp_path):
    for name in ("train", "val", "Validation"):
        fill(tmp_path / name / "clear")
    with pytest.raises(UserError, match="holds Validation and val, which both mean val"):
        scan_folder(tmp_path)


def test_an_empty_split_is_not_taken_for_none(tmp_path):
    fill(tmp_path / "train" / "clear")
    (tmp_path / "valid").mkdir()
    with pytest.raises(UserError, match="valid has no images: add them, or remove"):
        scan_folder(tmp_path)


def test_classes_may_be_called_as_splits_are_where_there_is_no_train(tmp_path):
    for name in ("valid", "invalid"):
        fill(tmp_path / name)
    assert scan_folder(tmp_path).class_names == ("invalid", "valid")


@pytest.mark.parametrize(
    "name",
    ["lost+found", "@eaDir", "$RECYCLE.BIN", "System Volume Information", "__MACOSX", "#recycle"],
)
@pytest.mark.parametrize("where", [".", "clear", "train"])
def test_what_systems_leave_behind_is_no_class_and_no_patient(tmp_path, name, where):
    root = tmp_path / "train" if where == "train" else tmp_path
    for label in ("clear", "haze"):
        fill(root / label)
    fill(tmp_path / where / name / "thumbs")
    scan = scan_folder(tmp_path)
    assert scan.class_names == ("clear", "haze") and len(scan.images) == 24
    assert ".Trash-1000" not in scan.notices[0]
    if where != "train":
        assert name in scan.notices[0]
    fill(tmp_path / where / ".Trash-1000" / "files")
    assert len(scan_folder(tmp_path).images) == 24


def test_folders_in_classes_are_patients(tmp_path):
    for label in ("clear", "haze"):
        for n in range(6):
            fill(tmp_path / label / f"patient{n}", 1)
            fill(tmp_path / label / f"patient{n}" / "study 1" / "series", 2)
    scan = scan_folder(tmp_path)
    assert len(scan.images) == 36 and scan.patients_known
    names = Counter(image.patient for image in scan.images)
    assert names["clear/patient0"] == names["haze/patient0"] == 3 and len(names) == 12
    assert "Folders of one name in two classes" in scan.notices[0]
    with_none = scan_folder(tmp_path, patients_from="none")
    assert not with_none.patients_known and len(with_none.images) == 36


def test_a_split_of_patients_in_folders(tmp_path):
    for split, num in (("train", 6), ("val", 2)):
        for n in range(num):
            fill(tmp_path / split / "clear" / f"patient{n}", 2)
    scan = scan_folder(tmp_path)  # numbers that start anew in each split are no shared patients
    assert scan.splits == ("train", "val")
    assert {image.patient for image in scan.images if image.split == "val"} == {
        "val/clear/patient0",
        "val/clear/patient1",
    }


def test_splits_in_classes_are_no_patients(tmp_path):
    for label in ("clear", "haze"):
        for split, num in (("train", 12), ("val", 3)):
            fill(tmp_path / label / split, num)
    assert count(tmp_path) == {
        ("train", "clear"): 12,
        ("train", "haze"): 12,
        ("val", "clear"): 3,
        ("val", "haze"): 3,
    }
    assert not scan_folder(tmp_path).patients_known


@pytest.mark.parametrize("above", ["chest_xray", "a/b"])
@pytest.mark.parametrize("splits", [("",), ("train", "val")])
def test_one_folder_more_on_top(tmp_path, above, splits):
    for split in splits:
        for label in ("clear", "haze"):
            fill(tmp_path / above / split / label)
    (tmp_path / "__MACOSX").mkdir()
    (tmp_path / "README.txt").write_text("from somewhere")
    assert len(count(tmp_path)) == 2 * len(splits)
    assert f"only one folder, {above}" in scan_folder(tmp_path).notices[0]
    assert scan_folder(tmp_path).images[0].file.startswith(f"{splits[0]}/clear/".lstrip("/"))


def test_a_class_of_patients_is_not_taken_for_a_folder_on_top(tmp_path):
    for n in range(30):
        fill(tmp_path / "clear" / f"patient{n:02d}", 10)
    assert count(tmp_path) == {("train", "clear"): 300}


def test_one_flat_folder_is_a_class_of_its_name(tmp_path):
    fill(tmp_path / "clear")
    assert count(tmp_path / "clear") == {("train", "clear"): 12}
    assert count(tmp_path) == {("train", "clear"): 12}
    fill(tmp_path / "films" / "train")
    fill(tmp_path / "films" / "val", 3)
    assert count(tmp_path / "films") == {("train", "films"): 12, ("val", "films"): 3}


UNUSED = {
    "beside the splits": ("train/clear", "train/haze", "unlabelled"),
    "beside the classes": ("clear", "haze", "."),
    "deeper than the others": ("clear", "haze", "haze/more"),
    "masks of a class": ("clear/images", "clear/masks", "haze"),
    "masks beside images": ("images", "masks"),
}


@pytest.mark.parametrize("case", UNUSED)
def test_images_that_would_not_be_used_stop_with_their_numbers(tmp_path, case):
    for folder in UNUSED[case]:
        fill(tmp_path / folder)
    with pytest.raises(UserError, match=r"(?s)12 image.s. in .* would not be used") as error:
        scan_folder(tmp_path)
    unused = {"beside the classes": "in the folder itself", "masks of a class": "clear/masks"}
    named = unused.get(case, UNUSED[case][-1])
    assert f"\n  {named}: 12\n" in str(error.value)
    name = tmp_path.name if case == "beside the classes" else Path(named).name
    left = [name] if case != "beside the classes" else [f"{name}-{n:03d}.png" for n in range(12)]
    assert not [f for f in scan_folder(tmp_path, leave_out=left).images if named in f.file]


def test_what_is_left_out_is_named_as_a_path_too(tmp_path):
    for folder in ("clear", "haze", "clear/old", "haze/old"):
        fill(tmp_path / folder)
    assert len(scan_folder(tmp_path, leave_out=("clear/old", "haze/old")).images) == 24
    with pytest.raises(UserError, match=r"(?s)12 image.s.*  haze/old: 12"):
        scan_folder(tmp_path, leave_out=("clear/old",))


def test_what_is_not_there_can_not_be_left_out(tmp_path):
    for folder in ("clear", "haze", "haze/old"):
        fill(tmp_path / folder)
    assert len(scan_folder(tmp_path, leave_out=("old/",)).images) == 24
    with pytest.raises(UserError, match=r"can not leave out haze/odl, olt: not found in "):
        scan_folder(tmp_path, leave_out=("old", "olt", "haze/odl"))


@pytest.mark.parametrize("ending", [".gif", ".JP2", ".nii.gz", ".heic"])
def test_images_of_other_formats_are_not_left_out_in_silence(tmp_path, ending):
    for label in ("clear", "haze"):
        fill(tmp_path / label)
    (tmp_path / "haze" / f"b{ending}").write_bytes(b"GIF89a")
    ((file, error),) = scan_folder(tmp_path).unusable
    assert file == f"haze/b{ending}"
    assert f"not read here ({ending.lower()}): save it as PNG" in str(error)


def test_a_jpeg_may_end_as_windows_has_it(tmp_path):
    for label in ("clear", "haze"):
        fill(tmp_path / label)
    (tmp_path / "haze" / "b.jfif").write_bytes(b"x")
    assert len(scan_folder(tmp_path).images) == 25


@pytest.mark.parametrize("place", [".", "haze"])
def test_the_index_of_a_cd_is_no_image(tmp_path, place):
    for label in ("clear", "haze"):
        fill(tmp_path / label)
    (tmp_path / place / "DICOMDIR").write_bytes(bytes(128) + b"DICM")
    scan = scan_folder(tmp_path)
    assert len(scan.images) == 24 and not scan.unusable


def test_a_flag_that_is_advised_can_be_typed_as_it_stands(tmp_path):
    for name in (".", "lung masks"):
        fill(tmp_path / "clear" / name)
    with pytest.raises(UserError, match="leave out a folder with '--leave_out=lung masks'"):
        scan_folder(tmp_path)


def test_long_lists_stop_at_ten(tmp_path):
    for name in ("clear", "haze"):
        fill(tmp_path / name)
        for n in range(20):
            fill(tmp_path / name / f"part {n:02d}", 1)
    with pytest.raises(UserError, match="and 30 more folders") as error:
        scan_folder(tmp_path)
    assert str(error.value).count("part") == 11  # ten, and one that shows how to leave it out


def test_a_copy_of_everything_beside_it_is_one_line(tmp_path):
    for above in (".", "chest_xray"):
        for split in ("train", "val"):
            fill(tmp_path / above / split / "clear")
    with pytest.raises(UserError, match=r"(?s)24 image.s.*\n  chest_xray: 24\n.*=chest_xray "):
        scan_folder(tmp_path)


def test_few_large_folders_in_a_class_are_asked_about(tmp_path):
    for name in ("clear", "haze"):
        for place in ("here", "there"):
            fill(tmp_path / name / place, 21)
    with pytest.raises(UserError, match=r"here: 21 images, there: 21 images.*are these patients"):
        scan_folder(tmp_path)
    named = scan_folder(tmp_path, patients_from="folders")
    assert len({image.patient for image in named.images}) == 4
    by_name = scan_folder(tmp_path, patient_pattern=r"^\w+/\w+-(\d+)")
    assert by_name.patients_known and len(by_name.images) == 84


def test_folders_of_patients_without_a_class_are_told_from_small_classes(tmp_path):
    for n in range(20):
        fill(tmp_path / f"patient{n}", 3)
    with pytest.raises(UserError, match=r"20 folders .* DIR/CLASS/PATIENT"):
        scan_folder(tmp_path)


@pytest.fixture
def linked(tmp_path):
    """Links to images, to classes and to everything, out of the folder; and a loop."""
    for name in ("clear", "haze"):
        fill(tmp_path / "store" / name)
        (tmp_path / "files" / name).mkdir(parents=True)
        for path in (tmp_path / "store" / name).iterdir():
            (tmp_path / "files" / name / path.name).symlink_to(path)
        (tmp_path / "classes").mkdir(exist_ok=True)
        (tmp_path / "classes" / name).symlink_to(tmp_path / "store" / name)
    (tmp_path / "files" / "clear" / "loop").symlink_to(tmp_path / "files")
    return tmp_path


@pytest.mark.parametrize("kind", ["files", "classes"])
def test_links_are_followed_where_that_is_asked(linked, kind):
    with pytest.raises(UserError, match="--follow_links"):
        scan_folder(linked / kind)
    scan = scan_folder(linked / kind, follow_links=True)
    assert len(scan.images) == 24 and scan.class_names == ("clear", "haze") and not scan.unusable


@pytest.mark.parametrize("place", ["clear", "train/clear"])
def test_a_patient_who_is_a_link_out_is_not_left_out(tmp_path, place):
    root = tmp_path / "data"
    for n in range(5):
        fill(root / place / f"p{n}", 3)
    fill(tmp_path / "store" / "p5", 3)
    (root / place / "p5").symlink_to(tmp_path / "store" / "p5")
    with pytest.raises(UserError, match=rf"{place}/p5 is a link that leads out"):
        scan_folder(root)
    assert len(scan_folder(root, follow_links=True).images) == 18
    assert len(scan_folder(root, leave_out=["p5"]).images) == 15


def test_a_deep_nest_of_folders_ends(tmp_path):
    for name in ("clear", "haze"):
        fill(tmp_path / name)
    deep = tmp_path / "clear"
    for _ in range(300):
        deep = deep / "d"
    deep.mkdir(parents=True)
    assert len(scan_folder(tmp_path).images) == 24


@pytest.mark.parametrize("name", ["train_images", "covid", "tests of lungs", ""])
def test_what_is_no_split(name):
    assert tree.as_split(name) is None
