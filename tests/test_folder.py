import os
import shutil
from pathlib import Path

import pytest

from jaxgan.core.errors import UserError
from jaxgan.data import dicom, folder, manifests
from jaxgan.data.folder import (
    compute_key,
    compute_state,
    hash_contents,
    is_quick_to_hash,
    scan_folder,
)
from tests.fuzz.seeds import make_film

CXR = Path(__file__).parents[2] / "shared/data/cxr"


def fill(folder: Path, count: int, prefix: str = "p") -> None:
    """Make `count` files that are named like images; the scan does not decode them."""
    folder.mkdir(parents=True, exist_ok=True)
    for n in range(count):
        (folder / f"{prefix}{n:02d}_1.png").write_bytes(b"x")


@pytest.fixture
def presplit(tmp_path):
    """train/ of 12 and val/ of 3 images in each of two classes, no patients."""
    for split, count in (("train", 12), ("val", 3)):
        for name in ("clear", "haze"):
            fill(tmp_path / split / name, count, f"{split}-{name}-")
    return tmp_path


@pytest.fixture
def flat(tmp_path):
    """Twelve images in each of two classes, without splits."""
    for name in ("clear", "haze"):
        fill(tmp_path / name, 12, f"{name}-")
    return tmp_path


def write_manifest(root: Path, heading: str = "file,patient", rows=None, **changes) -> None:
    """Write one row per image, with the file's stem as the patient, unless `changes` differs."""
    files = sorted(p.relative_to(root).as_posix() for p in root.rglob("*.png"))
    lines = (
        rows
        if rows is not None
        else [f"{f},{changes.get(Path(f).stem, Path(f).stem)}" for f in files]
    )
    (root / "manifest.csv").write_text("\n".join([heading, *lines]) + "\n")


def test_presplit_folder(presplit):
    scan = scan_folder(presplit)
    assert scan.class_names == ("clear", "haze")
    assert scan.splits == ("train", "val")
    counts = {(s, c): 0 for s in scan.splits for c in (0, 1)}
    for image in scan.images:
        counts[image.split, image.label] += 1
        assert image.file.startswith(f"{image.split}/{scan.class_names[image.label]}/")
    assert counts == {("train", 0): 12, ("train", 1): 12, ("val", 0): 3, ("val", 1): 3}


def test_test_split_is_taken_along(presplit):
    for name in ("clear", "haze"):
        fill(presplit / "test" / name, 2)
    assert scan_folder(presplit).splits == ("train", "val", "test")


def test_flat_folder(flat):
    scan = scan_folder(flat)
    assert (scan.splits, len(scan.images), scan.class_names) == ((), 24, ("clear", "haze"))
    assert {image.split for image in scan.images} == {"train"}


def test_endings_are_case_insensitive_and_others_are_noticed(flat):
    for ending in ("PNG", "JpG", "jpeg", "BMP", "tif", "TIFF"):
        (flat / "clear" / f"extra.{ending}").write_bytes(b"x")
    (flat / "clear" / "notes.txt").write_bytes(b"x")
    (flat / "clear" / "._p00_1.png").write_bytes(b"hidden")
    scan = scan_folder(flat)
    assert len(scan.images) == 24 + 6
    assert "1 item (clear/notes.txt)" in scan.notices[0]


def test_missing_patients_are_noticed(presplit):
    assert any(
        "No patient information. The split in the folder" in n
        for n in scan_folder(presplit).notices
    )


def test_missing_patients_are_noticed_where_the_split_is_ours(flat):
    scan = scan_folder(flat)
    assert not scan.patients_known
    assert any("The split is by image" in n and "too high" in n for n in scan.notices)


@pytest.mark.parametrize(
    "column", ["patient_group", "patient_id", "patient", "subject", "subject_id"]
)
def test_manifest_column_is_detected(flat, column):
    write_manifest(flat, f"file,{column}", **{"clear-00_1": "anna", "haze-03_1": "anna"})
    scan = scan_folder(flat)
    assert scan.patients_known
    assert scan.notices == (
        f"Patients are read from the column '{column}' of manifest.csv: 23 of them.",
    )
    assert [i.file for i in scan.images if i.patient == "anna"] == [
        "clear/clear-00_1.png",
        "haze/haze-03_1.png",
    ]


def test_manifest_column_by_name(flat):
    write_manifest(flat, "file,who")
    assert scan_folder(flat, patient_column="who").images[0].patient == "clear-00_1"
    with pytest.raises(UserError, match=r"(?s)\(found file, who; .*--patient_column=.*=none"):
        scan_folder(flat)
    with pytest.raises(UserError, match=r"no column 'whom' .*has file, who"):
        scan_folder(flat, patient_column="whom")


def test_manifest_with_a_byte_order_mark(flat):
    write_manifest(flat, "\N{BYTE ORDER MARK}file,patient")
    assert scan_folder(flat).patients_known


def test_column_without_a_manifest(flat):
    with pytest.raises(UserError, match=r"manifest\.csv does not exist"):
        scan_folder(flat, patient_column="patient")


@pytest.mark.parametrize(
    "heading",
    [
        "file,PatientID",
        "File, Patient ID",
        "Image Index,patientid",
        "filename,Record ID",
        "path,MRN",
    ],
)
def test_usual_headings_are_known_and_the_column_is_said(flat, heading):
    write_manifest(flat, heading, **{"clear-00_1": "anna", "haze-03_1": "anna"})
    scan = scan_folder(flat)
    assert scan.patients_known and len({image.patient for image in scan.images}) == 23
    name = heading.split(",")[1].strip()
    assert scan.notices == (
        f"Patients are read from the column '{name}' of manifest.csv: 23 of them.",
    )


@pytest.mark.parametrize(
    ("heading", "separator", "encoding"),
    [
        ("file;patient;;", ";", "utf-8"),
        ("file\tpatient\t\t", "\t", "utf-8-sig"),
        ("file,patient,,", ",", "utf-16"),
        ('"file", "patient", ,', ", ", "utf-8"),
    ],
)
def test_tables_of_other_programs(flat, heading, separator, encoding):
    write_manifest(flat)
    _, *lines = (flat / "manifest.csv").read_text().splitlines()
    rows = [separator.join([*(f'"{cell}"' for cell in line.split(",")), "", ""]) for line in lines]
    text = "\r\n".join([heading, *rows, separator * 3, "", ""])
    (flat / "manifest.csv").unlink()
    (flat / "Manifest.CSV").write_bytes(text.encode(encoding))
    scan = scan_folder(flat)
    assert [image.patient for image in scan.images[:2]] == ["clear-00_1", "clear-01_1"]


@pytest.mark.parametrize("form", ["{0}.png", "{0}", "films/{1}/{0}.png", "{1}\\{0}.png"])
def test_a_row_names_a_file_by_the_end_of_its_path(flat, form):
    stems = sorted(path.stem for path in flat.rglob("*.png"))
    write_manifest(flat, rows=[f"{form.format(s, s.split('-')[0])},{s}" for s in stems])
    assert [image.patient for image in scan_folder(flat).images] == stems


def test_equal_names_in_two_folders_are_not_one_file(flat):
    for name in ("clear", "haze"):
        fill(flat / name, 2, prefix="same-")
    files = sorted(p.relative_to(flat).as_posix() for p in flat.rglob("*.png"))
    write_manifest(flat, rows=[f"{Path(file).name},{n}" for n, file in enumerate(files)])
    with pytest.raises(UserError, match=r"same-00_1.png, but 2 files .clear/same.* have this name"):
        scan_folder(flat)
    write_manifest(flat, rows=[f"{flat}/{file},{n}" for n, file in enumerate(files)])
    assert len({image.patient for image in scan_folder(flat).images}) == 28


def test_absolute_paths_into_the_folder_are_of_its_files(flat, tmp_path_factory, monkeypatch):
    link = tmp_path_factory.mktemp("links") / "data"
    link.symlink_to(flat)
    stems = sorted(path.stem for path in flat.rglob("*.png"))
    for place in (link, flat):
        write_manifest(flat, rows=[f"{place}/{s.split('-')[0]}/{s}.png,{s}" for s in stems])
        assert [image.patient for image in scan_folder(link).images] == stems
    monkeypatch.chdir(flat.parent)
    assert scan_folder(Path(flat.name)).patients_known


def test_cells_that_name_nobody_join_nobody(flat):
    write_manifest(flat, **{f"clear-{n:02d}_1": "nan" for n in range(12)})
    scan = scan_folder(flat)
    assert not scan.patients_known and {i.patient for i in scan.images if i.label == 0} == {None}
    assert "for 12 files" in scan.notices[1] and "for 12 images" in scan.notices[2]


def test_one_patient_in_two_spellings_is_said(flat):
    write_manifest(flat, **{"clear-00_1": "P1 ", "clear-01_1": "p1", "haze-00_1": "P2"})
    scan = scan_folder(flat)
    assert [image.patient for image in scan.images[:2]] == ["P1", "P1"]
    assert "1 patient(s) are spelled in several ways" in scan.notices[1]
    assert "'P1' and 'p1'" in scan.notices[1]


def test_another_table_than_the_manifest_is_found(flat):
    write_manifest(flat)
    (flat / "manifest.csv").rename(flat / "metadata.csv")
    (flat / "results.csv").write_text("a,b\n1,2\n")
    scan = scan_folder(flat)
    assert scan.patients_known and "of metadata.csv" in scan.notices[0]
    fill(flat / "haze", 1, "new-")
    scan = scan_folder(flat)
    assert not scan.patients_known and "metadata.csv has no row for some" in scan.notices[0]
    (flat / "haze" / "new-00_1.png").unlink()
    (flat / "more.csv").write_text((flat / "metadata.csv").read_text())
    assert "Several tables name patients (metadata.csv, more.csv)" in scan_folder(flat).notices[0]


@pytest.mark.parametrize("above", ["/home/me/data/", "../data/", "C:\\data\\"])
def test_a_table_from_elsewhere_names_files_by_their_ends(flat, above):
    files = sorted(path.relative_to(flat).as_posix() for path in flat.rglob("*.png"))
    rows = [f"{above}{file},{n // 2}" for n, file in enumerate(files)]
    (flat / "train.csv").write_text("\n".join(["path,patient_id", *rows]) + "\n")
    scan = scan_folder(flat)
    assert len({image.patient for image in scan.images}) == len(files) // 2
    assert "of train.csv: 12 of them" in scan.notices[0]


def test_a_table_that_means_several_files_by_one_row_is_not_read(flat):
    for name in ("clear", "haze"):
        (flat / name / "same.png").write_bytes((flat / name / f"{name}-00_1.png").read_bytes())
    rows = [f"{path.name},a" for path in sorted(flat.rglob("*.png"))]
    (flat / "meta.csv").write_text("\n".join(["file,subject", *rows]) + "\n")
    scan = scan_folder(flat)
    assert not scan.patients_known and "meta.csv has no row for some images" in scan.notices[0]
    with pytest.raises(UserError, match=r"names same\.png, but 2 files"):
        scan_folder(flat, patient_column="subject")


@pytest.mark.parametrize("asked", [{"patient_column": "patient"}, {"patients_from": "table"}])
def test_a_column_that_was_asked_for_is_not_passed_over(flat, asked):
    write_manifest(flat)
    (flat / "manifest.csv").rename(flat / "metadata.csv")
    (flat / "old.csv").write_text("file,patient\nx.png,a\n")  # of other files: no rival
    assert scan_folder(flat, **asked).patients_known and scan_folder(flat).patients_known
    (flat / "more.csv").write_text((flat / "metadata.csv").read_text())
    with pytest.raises(UserError, match=r"Several tables name patients \(metadata.csv, more.csv"):
        scan_folder(flat, **asked)
    for name in ("more.csv", "old.csv"):
        (flat / name).unlink()
    fill(flat / "haze", 1, "new-")
    with pytest.raises(UserError, match=r"metadata\.csv has no row for 1 file"):
        scan_folder(flat, **asked)


def test_a_table_that_is_not_understood_is_said_where_no_patient_is_known(flat):
    (flat / "metadata.csv").write_bytes(
        "file;patient\nclear-00_1.png;M\xfcller\n".encode("latin-1")
    )
    scan = scan_folder(flat)
    assert any("Not read: " in n and "metadata.csv is not a table" in n for n in scan.notices)
    assert not any("Not read" in n for n in scan_folder(flat, patients_from="none").notices)
    write_manifest(flat)
    assert not any("Not read" in n for n in scan_folder(flat).notices)


def test_a_table_that_names_nobody_tells_no_patients(flat):
    files = sorted(path.relative_to(flat).as_posix() for path in flat.rglob("*.png"))
    write_manifest(flat, rows=[f"{file},nan" for file in files])
    scan = scan_folder(flat)
    assert not any("Patients are told" in notice for notice in scan.notices)
    assert "names no patient in 'patient'" in scan.notices[0]


def test_patients_from_one_source_alone(flat):
    write_manifest(flat)
    scan = scan_folder(flat, patients_from="none")
    assert not any(image.patient for image in scan.images)
    assert scan_folder(flat, patients_from="table").patients_known
    (flat / "manifest.csv").unlink()
    with pytest.raises(UserError, match=r"manifest\.csv does not exist"):
        scan_folder(flat, patients_from="table")
    for source in ("dicom", "folders"):
        with pytest.raises(UserError, match=rf"--patients_from={source} was given, but no"):
            scan_folder(flat, patients_from=source)
    with pytest.raises(UserError, match="expected one of auto, table"):
        scan_folder(flat, patients_from="tables")
    with pytest.raises(UserError, match="give only one of them"):
        scan_folder(flat, patients_from="none", patient_pattern="a")


@pytest.fixture
def loose(tmp_path):
    """Twenty-four images in one folder."""
    fill(tmp_path / "films", 24)
    return tmp_path / "films"


def write_labels(root: Path, heading: str, name: str = "labels.csv", **changes) -> None:
    """Write one row per image: its name, and whether its number is odd."""
    stems = sorted(path.stem for path in root.rglob("*.png"))
    labels = {stem: ("clear", "haze")[n % 2] for n, stem in enumerate(stems)} | changes
    rows = [f"{stem}.png,{label}" for stem, label in labels.items()]
    (root / name).write_text("\n".join([heading, *rows]) + "\n")


@pytest.mark.parametrize("below", [".", "images"])
@pytest.mark.parametrize("heading", ["image,label", "Image Index,Finding Labels", "file,Class"])
def test_classes_come_from_a_table_where_folders_tell_none(loose, heading, below):
    write_labels(loose, heading)
    for path in loose.glob("*.png") if below != "." else ():
        (loose / below).mkdir(exist_ok=True)
        path.rename(loose / below / path.name)
    scan = scan_folder(loose)
    assert scan.class_names == ("clear", "haze")
    assert [image.label for image in scan.images[:4]] == [0, 1, 0, 1]
    assert f"column '{heading.split(',')[1]}' of labels.csv: clear, haze" in scan.notices[0]


@pytest.mark.parametrize("heading", ["file,pathology", "scan,label"])
def test_a_table_of_labels_that_is_not_understood_is_said(loose, heading):
    write_labels(loose, heading)
    scan = scan_folder(loose)
    assert scan.class_names == ("films",)
    (said,) = [notice for notice in scan.notices if "all images are one, 'films'" in notice]
    assert "labels.csv has" in said and heading.replace(",", ", ") in said
    if heading.startswith("file"):
        assert scan_folder(loose, label_column="pathology").class_names == ("clear", "haze")
    else:
        with pytest.raises(UserError, match=r"labels\.csv has the columns scan, label, expected"):
            scan_folder(loose, label_column="label")


def write_two_labels(root, first, second):
    files = sorted(path.name for path in root.glob("*.png"))
    lines = [f"{file},{(first, second)[i % 2]}" for i, file in enumerate(files)]
    (root / "labels.csv").write_text("\n".join(["file,label", *lines]) + "\n")


def test_a_label_with_slashes_is_a_class_whose_run_has_one_folder(loose):
    """As of a well-known set of COVID-19 films."""
    write_two_labels(loose, "Pneumonia/Viral/COVID-19", "No Finding")
    scan = scan_folder(loose)
    assert scan.class_names == ("No Finding", "Pneumonia-Viral-COVID-19")
    (said,) = [notice for notice in scan.notices if "has no slash" in notice]
    assert said.endswith("Pneumonia/Viral/COVID-19 is Pneumonia-Viral-COVID-19.")


@pytest.mark.parametrize("label", ["../../elsewhere", "/etc", "a/../b"])
def test_no_label_of_a_table_leads_out_of_a_runs_folder(loose, label):
    write_two_labels(loose, label, "clear")
    names = scan_folder(loose).class_names
    assert "clear" in names and len(names) == 2
    for name in names:
        assert (Path("runs") / name).parent == Path("runs") and name not in (".", "..")


@pytest.mark.parametrize(
    ("labels", "sentence"),
    [
        (("b" * 201, "clear"), "expected a word of at most 200 bytes"),
        (
            ("a/b", "a-b"),
            "has the classes a/b, a-b, but their runs would have the same folder, 'a-b'",
        ),
    ],
)
def test_a_label_that_can_not_name_a_folder_has_its_sentence(loose, labels, sentence):
    write_two_labels(loose, *labels)
    with pytest.raises(UserError, match=sentence):
        scan_folder(loose)


def test_a_label_column_by_name_and_over_folders(flat):
    write_labels(flat, "file,grade", name="manifest.csv")
    assert scan_folder(flat, patients_from="none").class_names == ("clear", "haze")
    labelled = scan_folder(flat, label_column="grade", patients_from="none")
    assert [image.label for image in labelled.images[:4]] == [0, 1, 0, 1]
    with pytest.raises(UserError, match=r"no column 'stage' for the label: .*has file, grade"):
        scan_folder(flat, label_column="stage")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"p03_1": ""}, r"no 'label' for 1 file \(p03_1.png\)"),
        ({"p03_1": "once"}, "class 'once' has 1 training images"),
    ],
)
def test_an_image_without_a_label_is_not_left_out(loose, changes, message):
    write_labels(loose, "image,label", **changes)
    with pytest.raises(UserError, match=message):
        scan_folder(loose)


def test_an_image_without_a_row_has_no_label(loose):
    write_labels(loose, "image,label")
    fill(loose, 1, "new")
    with pytest.raises(UserError, match=r"labels.csv has no row for 1 file \(new00_1.png\)"):
        scan_folder(loose)


def test_several_tables_of_labels_are_asked_about(loose):
    write_labels(loose, "image,label")
    write_labels(loose, "image,label", name="other.csv")
    with pytest.raises(UserError, match=r"several tables give classes .labels.csv, other.csv"):
        scan_folder(loose)
    for n, path in enumerate(sorted(loose.glob("*.png"))):
        (loose / "ab"[n % 2]).mkdir(exist_ok=True)
        path.rename(loose / "ab"[n % 2] / path.name)
    assert scan_folder(loose).class_names == ("a", "b")  # told by folders: nothing to ask


def test_a_table_that_covers_the_images_is_told_from_others(loose):
    write_labels(loose, "id_code,diagnosis", name="train.csv")
    (loose / "sample_submission.csv").write_text("id_code,diagnosis\nanother,0\n")
    assert scan_folder(loose).class_names == ("clear", "haze")


def test_labels_beside_the_one_folder_are_said(flat):
    shutil.rmtree(flat / "haze")
    write_labels(flat, "file,label")
    (notice, _) = scan_folder(flat).notices
    assert "--label_column=label takes the classes" in notice
    (flat / "clear").rename(flat / "train_images")  # no class's name
    with pytest.raises(UserError, match="'clear' has 6 training images"):
        scan_folder(flat)


def test_with_labels_of_a_table_a_pattern_sees_the_whole_path(tmp_path):
    for n in range(12):
        fill(tmp_path / "train" / f"patient{n:02d}" / "study", 2, prefix=f"{n}-")
    write_labels(tmp_path, "file,label")
    with pytest.raises(UserError, match=r"12 folders .* --label_column=NAME"):
        scan_folder(tmp_path)
    scan = scan_folder(tmp_path, label_column="label", patient_pattern=r"patient\d+")
    assert scan.class_names == ("clear", "haze")
    assert len({image.patient for image in scan.images}) == 12


def test_classes_that_differ_by_case_alone_are_said(flat):
    fill(flat / "Haze", 12)
    assert (
        scan_folder(flat).notices[-1]
        == "Two classes differ only in upper and lower case: Haze and haze."
    )


def test_a_users_split_in_the_table_is_kept(flat):
    files = sorted(p.relative_to(flat).as_posix() for p in flat.rglob("*.png"))
    rows = [f"{f},{n},{'Validation' if n % 12 > 9 else 'training'}" for n, f in enumerate(files)]
    write_manifest(flat, "file,patient,split", rows=rows)
    scan = scan_folder(flat)
    assert scan.splits == ("train", "val")
    assert sum(image.split == "val" for image in scan.images) == 4
    assert any("The split is read from the column 'split'" in notice for notice in scan.notices)
    write_manifest(flat, "file,patient,split", rows=[r.replace("training", "1") for r in rows])
    with pytest.raises(UserError, match=r"expected train, val or test for each"):
        scan_folder(flat)


def test_manifest_that_misses_files(flat):
    write_manifest(flat)
    fill(flat / "haze", 2, "new-")
    with pytest.raises(UserError, match=r"no row for 2 files \(haze/new-00_1.png, haze/new-01"):
        scan_folder(flat)


def test_manifest_with_rows_to_spare(flat):
    write_manifest(flat)
    (flat / "haze" / "haze-11_1.png").unlink()
    assert "1 row(s) for files that are not among" in scan_folder(flat).notices[1]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("file,patient\nclear/clear-00_1.png\n", "line 2: more or fewer fields"),
        ("file,patient\nclear/clear-00_1.png,a,b\n", "line 2: more or fewer fields"),
        ("thing,patient\na,b\n", "expected 'file'"),
        ("file|patient\na|b\n", "separated by commas"),
        ("", "expected 'file'"),
        ('file,patient\n"open,b\n', "not a table in CSV"),
        (b"file,patient\n\xff\xfe,b\n", "not a table in CSV, UTF-8"),
    ],
)
def test_malformed_manifest(flat, content, message):
    (flat / "manifest.csv").write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(UserError, match=message):
        scan_folder(flat)


def test_manifest_with_an_empty_patient(flat):
    write_manifest(flat, **{"haze-03_1": " "})
    scan = scan_folder(flat)
    assert [i.file for i in scan.images if i.patient is None] == ["haze/haze-03_1.png"]
    assert (
        r"no patient in 'patient' (empty, nan, unknown) for 1 file (haze/haze-03" in scan.notices[1]
    )
    assert scan.notices[2].startswith("No patient information for 1 images.")


def test_manifest_with_two_patients_for_a_file(flat):
    rows = ["clear/clear-00_1.png,a", "./clear/clear-00_1.png,b"]
    write_manifest(flat, rows=rows)
    with pytest.raises(UserError, match=r"gives clear/clear-00_1.png two patients"):
        scan_folder(flat)


def test_a_row_that_leads_through_a_link_is_of_no_image(flat, tmp_path_factory):
    outside = tmp_path_factory.mktemp("elsewhere")
    fill(outside, 1)
    write_manifest(flat)
    (flat / "clear" / "way").symlink_to(outside)
    with (flat / "manifest.csv").open("a") as file:
        file.write("clear/way/p00_1.png,a\n")
    scan = scan_folder(flat)
    assert len(scan.images) == 24 and any("1 row(s) for files that" in n for n in scan.notices)


@pytest.mark.parametrize("entry", ["/etc/passwd", "../other/a.png", "clear/../../a.png"])
def test_manifest_cannot_lead_out_of_the_folder(flat, entry):
    write_manifest(flat, rows=[f"{entry},a"])
    with pytest.raises(UserError, match="lies outside the folder"):
        scan_folder(flat)


def test_pattern_group_and_whole_match(flat):
    by_group = scan_folder(flat, patient_pattern=r"-(\d+)_")
    assert [i.patient for i in by_group.images[:2]] == ["00", "01"]
    whole = scan_folder(flat, patient_pattern=r"-\d+_")
    assert [i.patient for i in whole.images[:2]] == ["-00_", "-01_"]
    assert by_group.patients_known and not by_group.notices


def test_pattern_does_not_see_the_class_and_goes_before_the_manifest(flat):
    write_manifest(flat)
    assert scan_folder(flat, patient_pattern=r"^\w+-\d").images[0].patient == "clear-0"


@pytest.mark.parametrize("pattern", [r"haze-(\d+)", r"(haze)?-\d+", "()"])
def test_pattern_that_misses_files(flat, pattern):
    with pytest.raises(UserError, match=r"finds no patient in the names of \d+ files"):
        scan_folder(flat, patient_pattern=pattern)


def test_pattern_sees_the_path_below_the_class(flat):
    for name in ("clear", "haze"):
        for path in sorted((flat / name).iterdir()):
            folder = flat / name / path.stem[-4:-2]
            folder.mkdir()
            path.rename(folder / path.name)
    scan = scan_folder(flat, patient_pattern=r"^([^/]+)/")
    assert [image.patient for image in scan.images[:2]] == ["00", "01"]
    with pytest.raises(UserError, match="finds no patient"):
        scan_folder(flat, patient_pattern=r"^clear")


def test_equal_names_in_two_folders_are_not_one_patient(tmp_path):
    for name in ("train/clear", "train/haze", "val/clear", "val/haze"):
        fill(tmp_path / name, 12)
    scan = scan_folder(tmp_path, patient_pattern=r"p\d+")  # no shared patient
    assert len({image.patient for image in scan.images}) == 48
    assert "12 names (p00_1.png" in scan.notices[0] and "two patients" in scan.notices[0]


def test_pattern_that_is_none(flat):
    with pytest.raises(UserError, match=r"not a regular expression: .*unterminated"):
        scan_folder(flat, patient_pattern="(oops")


def test_column_and_pattern_together(flat):
    with pytest.raises(UserError, match="give only one of them"):
        scan_folder(flat, patient_column="patient", patient_pattern="a")


def test_patient_in_two_splits(presplit):
    write_manifest(presplit, **{"train-haze-00_1": "eva", "val-clear-02_1": "eva"})
    with pytest.raises(UserError, match=r"(?s)1 patient.*eva in train and val: .*val-clear-02_1"):
        scan_folder(presplit)


def test_a_patient_may_have_two_classes(presplit):
    write_manifest(presplit, **{"train-haze-00_1": "eva", "train-clear-02_1": "eva"})
    assert scan_folder(presplit).patients_known


def test_missing_folder(tmp_path):
    with pytest.raises(UserError, match=r"absent does not exist\. Expected a folder: DIR/train"):
        scan_folder(tmp_path / "absent")
    (tmp_path / "file").write_text("x")
    with pytest.raises(UserError, match="is a file"):
        scan_folder(tmp_path / "file")


def test_folder_without_images(tmp_path):
    (tmp_path / "clear").mkdir()
    with pytest.raises(UserError, match="no images found"):
        scan_folder(tmp_path)


def test_one_class_only(tmp_path):
    fill(tmp_path / "train" / "clear", 12)
    scan = scan_folder(tmp_path)  # enough for a GAN
    assert scan.class_names == ("clear",) and len(scan.images) == 12


def test_empty_class(flat):
    (flat / "none").mkdir()
    with pytest.raises(UserError, match="class 'none' has no images in train"):
        scan_folder(flat)


def test_tiny_class(flat):
    fill(flat / "rare", 9)
    with pytest.raises(UserError, match="class 'rare' has 9 training images, expected at least 10"):
        scan_folder(flat)


def test_ten_images_are_enough(flat):
    fill(flat / "rare", 10)
    assert scan_folder(flat).class_names == ("clear", "haze", "rare")


def test_stray_class_in_val(presplit):
    fill(presplit / "val" / "stray", 3)
    with pytest.raises(
        UserError, match=r"'stray' is in val but not in train .its classes: clear, haze"
    ):
        scan_folder(presplit)


def test_class_missing_in_val(presplit):
    fill(presplit / "train" / "rare", 12)
    with pytest.raises(UserError, match="class 'rare' has no images in val"):
        scan_folder(presplit)


def test_val_without_train(tmp_path):
    fill(tmp_path / "val" / "clear", 12)
    with pytest.raises(UserError, match="holds val but no train"):
        scan_folder(tmp_path)


def test_folders_beside_the_splits_are_noticed(presplit):
    (presplit / "masks").mkdir()
    assert "1 item (masks)" in scan_folder(presplit).notices[0]


def get_key(root: Path, settings=(1,)) -> str:
    scan = scan_folder(root)
    return compute_key(scan, settings, hash_contents(scan))


def test_key_changes_with_content_and_settings_only(flat, tmp_path_factory):
    moved = tmp_path_factory.mktemp("elsewhere") / "moved"
    key = get_key(flat)
    assert key == get_key(flat)
    assert key != get_key(flat, [3])
    write_manifest(flat)
    assert key != get_key(flat)
    (flat / "manifest.csv").unlink()
    image = flat / "clear" / "clear-00_1.png"
    os.utime(image, ns=(1, 1))
    assert key == get_key(flat)
    shutil.copytree(flat, moved)
    assert key == get_key(moved)
    image.write_bytes(b"y")  # of the same size
    os.utime(image, ns=(1, 1))
    assert key != get_key(flat)


def test_the_key_changes_with_the_names_that_a_table_gives_the_classes(loose):
    write_labels(loose, "image,label")
    key, table = get_key(loose), loose / "labels.csv"
    table.write_text(table.read_text().replace("haze", "smoke"))
    assert key != get_key(loose)


def test_the_state_of_a_folder_follows_place_sizes_and_dates_unread(
    flat, tmp_path_factory, monkeypatch
):
    moved = tmp_path_factory.mktemp("elsewhere") / "moved"
    monkeypatch.setattr(folder, "_hash_content", lambda path: pytest.fail("it was read"))
    states = [compute_state(scan_folder(flat))]
    assert states == [compute_state(scan_folder(flat))]
    image = flat / "clear" / "clear-00_1.png"
    os.utime(image, ns=(1, 1))
    states.append(compute_state(scan_folder(flat)))
    image.write_bytes(b"longer")
    os.utime(image, ns=(1, 1))
    states.append(compute_state(scan_folder(flat)))
    shutil.copytree(flat, moved)
    states.append(compute_state(scan_folder(moved)))
    assert len(set(states)) == 4


def test_only_a_large_folder_is_not_read_at_every_launch(flat, monkeypatch):
    monkeypatch.setattr(folder, "MAX_HASHED_BYTES", 24)  # what the 24 files come to
    assert is_quick_to_hash(scan_folder(flat))
    monkeypatch.setattr(folder, "MAX_HASHED_BYTES", 23)
    assert not is_quick_to_hash(scan_folder(flat))


def test_the_key_changes_with_what_can_not_be_used_for_now(flat, monkeypatch):
    scan = scan_folder(flat)
    keys = [get_key(flat)]
    monkeypatch.setattr(dicom, "find_decoders", lambda: ("another",))
    keys.append(get_key(flat))
    os.mkfifo(flat / "clear" / "pipe.png")
    keys.append(get_key(flat))
    (flat / "clear" / "clear-00_1.png").unlink()  # as a file that may not be read
    keys.append(compute_key(scan, [1], hash_contents(scan)))
    assert len(set(keys)) == 4


@pytest.mark.skipif(not CXR.is_dir(), reason="the real X-rays (shared/data/cxr) are not here")
def test_real_films():
    scan = scan_folder(CXR)
    assert scan.class_names == ("covid", "normal", "pneumonia")
    assert scan.patients_known and len(scan.images) == 515
    assert scan.notices == (
        "Patients are read from the column 'patient_group' of manifest.csv: 369 of them.",
    )


# What a stranger's folder may hold ---------------------------------------------------------------


def test_a_class_of_links_alone_is_told_why_it_is_empty(flat):
    for path in (flat / "haze").iterdir():
        path.unlink()
        path.symlink_to("/etc/hostname")
    with pytest.raises(UserError, match=r"(?s)no images in train.*12 images of 24 cannot be used"):
        scan_folder(flat)


def get_unusable(root: Path) -> dict[str, str]:
    return {file: str(error) for file, error in scan_folder(root).unusable}


def test_links_pipes_and_strange_names_are_named_and_not_followed(flat, tmp_path_factory):
    outside = tmp_path_factory.mktemp("outside")
    (outside / "secret.png").write_bytes(b"x")
    folder = flat / "clear"
    (folder / "loop.png").symlink_to(folder / "loop.png")
    (folder / "gone.png").symlink_to(folder / "nothing")
    (folder / "out.png").symlink_to(outside / "secret.png")
    (folder / "back.png").symlink_to("../../outside0/secret.png")
    os.mkfifo(folder / "pipe.png")
    (folder / os.fsdecode(b"caf\xe9.png")).write_bytes(b"x")
    (folder / "inside.png").symlink_to("clear-00_1.png")
    scan = scan_folder(flat)
    reasons = get_unusable(flat)
    for name, reason in {
        "loop.png": "leads nowhere",
        "gone.png": "leads nowhere",
        "out.png": "out of the data folder",
        "pipe.png": "not an ordinary file",
        os.fsdecode(b"caf\xe9.png"): "not UTF-8",
    }.items():
        assert reason in reasons[f"clear/{name}"]
    assert "clear/back.png" in reasons
    assert len(reasons) == 6 and len(scan.images) == 25


@pytest.mark.parametrize("where", ["train", "val/haze"])
def test_a_split_or_class_that_is_a_link_out_is_refused(presplit, tmp_path_factory, where):
    outside = tmp_path_factory.mktemp("elsewhere") / "x"
    (presplit / where).rename(outside)
    (presplit / where).symlink_to(outside)
    with pytest.raises(UserError, match=rf"{where} is a link that leads out"):
        scan_folder(presplit)


def test_a_folder_that_links_to_itself_ends(flat):
    (flat / "clear" / "again").symlink_to(flat)
    scan = scan_folder(flat)
    assert len(scan.images) == 24 and "clear/again" in scan.notices[0]


@pytest.mark.parametrize("name", ["a\x1b[2J", "a\nb", os.fsdecode(b"caf\xe9")])
def test_a_class_that_cannot_be_shown_is_refused(flat, name):
    fill(flat / name, 12)
    with pytest.raises(UserError, match="rename it") as error:
        scan_folder(flat)
    assert str(error.value).isprintable()


def test_dicom_is_found_by_content_and_grouped_by_a_patient_who_is_not_named(flat):
    for name in ("clear", "haze"):
        for path in sorted((flat / name).iterdir()):
            path.unlink()
        for n in range(12):
            patient = {"PatientID": f"MRN-{name}-{n // 3}"}
            (flat / name / f"IM{n:02d}").write_bytes(make_film(**patient))
    scan = scan_folder(flat)
    assert scan.patients_known and scan.notices == () and len(scan.images) == 24
    assert {image.patient for image in scan.images} == {
        f"the patient of {name}/IM{n:02d}" for name in ("clear", "haze") for n in (0, 3, 6, 9)
    }
    assert "MRN" not in repr(scan)
    write_manifest(flat, rows=[f"{image.file},{n}" for n, image in enumerate(scan.images)])
    assert len({image.patient for image in scan_folder(flat).images}) == 24  # it goes first


@pytest.mark.parametrize("name", ["ANONYMOUS", "000000", "", "ANON-{0}"])
def test_what_an_anonymiser_writes_is_no_patient(presplit, name):
    for path in sorted(presplit.rglob("*.png")):
        path.write_bytes(make_film(PatientID=name.format(path.parent.name)))
    scan = scan_folder(presplit)
    assert not any(image.patient for image in scan.images)
    assert "The DICOM headers of 30 files" in scan.notices[0]


def test_one_patient_everywhere_leads_to_the_flags_and_not_round(presplit):
    for path in sorted(presplit.rglob("*.png")):
        path.write_bytes(make_film(PatientID="4711"))
    with pytest.raises(UserError, match=r"(?s)more than one split.*--patients_from=none"):
        scan_folder(presplit)
    assert len(scan_folder(presplit, patients_from="none").images) == 30
    assert scan_folder(presplit, patient_pattern=r"\w+-\w+-\d+").patients_known


def test_where_only_some_films_tell_their_patients_that_is_said(flat):
    for n in range(2):
        (flat / "clear" / f"{n}.dcm").write_bytes(make_film())
    scan = scan_folder(flat)
    assert not scan.patients_known
    assert [i.patient for i in scan.images if i.patient] == ["the patient of clear/0.dcm"] * 2
    assert any("not those of 24 files" in notice for notice in scan.notices)


def test_a_manifest_that_is_a_link_out_is_not_read(flat, tmp_path_factory):
    outside = tmp_path_factory.mktemp("tables") / "m.csv"
    outside.write_text("file,patient\nsecret,secret\n")
    (flat / "manifest.csv").symlink_to(outside)
    with pytest.raises(UserError, match="link that leads out") as error:
        scan_folder(flat)
    assert "secret" not in str(error.value)


def test_a_manifest_may_not_have_a_column_twice(flat):
    write_manifest(flat, "file,patient,patient", rows=["clear/clear-00_1.png,a,b"])
    with pytest.raises(UserError, match="no column twice"):
        scan_folder(flat)


def test_a_link_out_is_not_opened(flat, tmp_path_factory, monkeypatch):
    secret = tmp_path_factory.mktemp("outside") / "secret"
    secret.write_bytes(make_film())
    (flat / "clear" / "film").symlink_to(secret)
    opened = []
    monkeypatch.setattr(dicom, "starts_as_dicom", lambda path: opened.append(path.name))
    assert "leads out of the data folder" in get_unusable(flat)["clear/film"]
    assert "clear-00_1.png" in opened and "film" not in opened


def test_a_manifest_has_its_limits(flat, monkeypatch):
    write_manifest(flat)
    monkeypatch.setattr(manifests, "MAX_ROWS", 24)
    assert scan_folder(flat).patients_known
    monkeypatch.setattr(manifests, "MAX_ROWS", 23)
    with pytest.raises(UserError, match="more than the 23 rows"):
        scan_folder(flat)
    monkeypatch.setattr(manifests, "MAX_MANIFEST_BYTES", 100)
    with pytest.raises(UserError, match=r"manifest\.csv has 0 MiB, more than the 0 MiB"):
        scan_folder(flat)


def test_a_name_never_begins_a_line(flat):
    forged = "a\n1 image cannot be used"
    write_manifest(flat, f'file,"{forged}"')
    with pytest.raises(UserError, match=r"found file, a\\n1 image"):
        scan_folder(flat)
    with pytest.raises(UserError, match=r"has file, a\\n1 image"):
        scan_folder(flat, patient_column="b")
    write_manifest(flat, rows=[f'"{forged}",a', f'"{forged}",b'])
    with pytest.raises(UserError, match=r"gives a\\n1 image"):
        scan_folder(flat)
    (flat / forged).symlink_to("/")
    with pytest.raises(UserError, match="leads out") as error:
        scan_folder(flat)
    assert "\n" not in str(error.value)
