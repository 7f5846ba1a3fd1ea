"""Kept images: the table, the target, cutting back."""

import csv
import io
import re
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from jaxgan.core.errors import UserError
from jaxgan.data.images import write_png
from jaxgan.sampling import kept as module
from jaxgan.sampling.kept import KeptImage, KeptImages, format_table, is_whole, read_table
from jaxgan.training.run_folder import RunFolder


def make_kept(path, target=5, rule="paper_text"):
    return KeptImages(RunFolder(path, {"kind": "test"}), rule=rule, target=target)


def add(kept, num, epoch, first_seed, final=False):
    seeds = np.arange(first_seed, first_seed + num)
    images = np.broadcast_to(seeds[:, None, None, None], (num, 4, 4, 1)).astype(np.uint8)
    return kept.add(images, seeds=seeds, scores=seeds / 100, epoch=epoch, final=final)


def test_table_and_files_agree(tmp_path):
    kept = make_kept(tmp_path)
    add(kept, 2, epoch=3, first_seed=10)
    with (tmp_path / "accepted.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["file", "epoch", "seed", "score", "rule"]
    assert [(row["epoch"], row["seed"], row["score"]) for row in rows] == [
        ("3", "10", "0.1"),
        ("3", "11", "0.11"),
    ]
    for row in rows:
        with Image.open(tmp_path / "accepted" / row["file"]) as image:
            assert set(np.asarray(image).ravel()) == {int(row["seed"])}
    assert [path.name for path in kept.get_files()] == [row["file"] for row in rows]


def test_the_target_is_not_passed(tmp_path):
    kept = make_kept(tmp_path, target=3)
    assert add(kept, 2, 1, 0) == 2
    assert kept.num_missing == 1
    assert add(kept, 2, 2, 10) == 1
    assert add(kept, 2, 3, 20) == 0
    assert len(list((tmp_path / "accepted").iterdir())) == 3


def test_cutting_back_drops_later_epochs_the_top_up_and_orphans(tmp_path):
    kept = make_kept(tmp_path, target=10)
    add(kept, 1, epoch=1, first_seed=0)
    add(kept, 1, epoch=2, first_seed=10)
    add(kept, 1, epoch=2, first_seed=20, final=True)
    (tmp_path / "accepted" / "epoch_00009_0000001.png").write_bytes(b"from a killed run")
    assert len(list((tmp_path / "accepted").iterdir())) == 4
    again = make_kept(tmp_path, target=10)
    assert len(again) == 3
    again.rewind(1)
    assert [row.epoch for row in read_table(tmp_path)] == [1]
    assert len(list((tmp_path / "accepted").iterdir())) == 1


def test_cutting_back_leaves_what_is_not_the_runs_alone(tmp_path):
    kept = make_kept(tmp_path)
    add(kept, 1, epoch=2, first_seed=0)
    folder = tmp_path / "accepted"
    (folder / ".ipynb_checkpoints").mkdir()
    (folder / "epoch_00002_0000009.png").mkdir()
    (folder / "notes.txt").write_text("mine")
    (folder / "epoch_00002_0000000 copy.png").write_bytes(b"mine")
    kept.rewind(0)
    assert {path.name for path in folder.iterdir()} == {
        ".ipynb_checkpoints",
        "epoch_00002_0000000 copy.png",
        "epoch_00002_0000009.png",
        "notes.txt",
    }


# What a spreadsheet takes for a formula, at the start of a cell or behind what it passes over.
FORMULA = re.compile(r"[\s\x00-\x1f\xa0\ufeff\u200b-\u200f\u2060]*[=+\-@\uff1d\uff0b\uff0d\uff20]")
WORDS = st.text(st.sampled_from("=+-@\uff1d \xa0\ufeff\u200b,;\t\r\n\"'a(1)")) | st.text()


@given(file=WORDS, rule=WORDS)
def test_no_cell_of_the_table_is_a_formula(file, rule):
    text = format_table([KeptImage(file, 1, 2, 0.5, rule)])
    rows = list(csv.reader(io.StringIO(text, newline="")))
    assert [cell for row in rows for cell in row if FORMULA.match(cell)] == []
    assert [cell.removeprefix("'") for cell in rows[1]] == [
        cell.removeprefix("'") for cell in (file, "1", "2", "0.5", rule)
    ]


def test_a_table_that_was_tampered_with_is_written_anew_without_formulas(tmp_path):
    (tmp_path / "accepted.csv").write_text(
        'file,epoch,seed,score,rule\n=cmd(),1,1,0.9,none\n"a,=cmd()",1,1,0.9,"@b;+c"\n'
    )
    for name in ("=cmd()", "a,=cmd()"):
        write_png(np.zeros((4, 4, 1), np.uint8), tmp_path / "accepted" / name)
    make_kept(tmp_path).rewind(1)
    assert (tmp_path / "accepted.csv").read_text().splitlines()[1:] == [
        '"\'=cmd()",1,1,0.9,"none"',
        '"a,=cmd()",1,1,0.9,"\'@b;+c"',
    ]


def test_a_table_of_something_else_has_its_sentence(tmp_path):
    (tmp_path / "accepted.csv").write_text("name,size\na,1\n")
    with pytest.raises(UserError, match="not a table of kept images"):
        read_table(tmp_path)


def test_a_table_can_not_point_outside_its_folder(tmp_path):
    (tmp_path / "accepted.csv").write_text(
        "file,epoch,seed,score,rule\n../../secret.png,1,1,0.9,none\n"
    )
    assert read_table(tmp_path)[0].file == "secret.png"


def test_a_table_of_many_images_takes_no_time(tmp_path, monkeypatch):
    """Each name is looked up once, not once a row (6 s for 20,000, and 35 s to cut back)."""
    rows = [KeptImage(f"final_{i:07d}.png", 1, i, 0.5, "none") for i in range(12_000)]
    rows += [KeptImage(f"epoch_00001_{i:07d}.png", 1, i, 0.5, "none") for i in range(12_000)]
    (tmp_path / "accepted.csv").write_text(format_table(rows))
    monkeypatch.setattr(module, "is_readable", lambda file: True)
    began = time.process_time()
    assert len(read_table(tmp_path)) == 24_000
    make_kept(tmp_path).rewind(1)
    assert time.process_time() - began < 5.0
    assert len(read_table(tmp_path)) == 12_000


# What a person may delete or edit ---------------------------------------------------------------


def write_rows(path, text, encoding="utf-8"):
    (path / "accepted.csv").write_bytes(text.encode(encoding))


HEADER = "file,epoch,seed,score,rule\n"


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("a.png,1,1,0.9,none\nb.png,1,2,0.9,none\n", "it has no column 'file'"),
        ("file;epoch;seed;score;rule\na.png;1;1;0,9;none\n", "it has no column 'file'"),
        ("", "it has no column 'file'"),
        ("\n\n", "it has no column 'file'"),
        ("file,epoch,seed,rule\n", "it has no column 'score'"),
        (HEADER + "a.png,1,1,0.9,none\nb.png,one,1,0.9,none\n", "line 3 has a cell"),
        (HEADER + "a.png,1.0,1,0.9,none\n", "line 2 has a cell"),
        (HEADER + "a.png,1\n", "line 2 has a cell"),
        (HEADER + ",,,,\n", "line 2 has a cell"),
        (HEADER + "a.png,1,1,0.9,none\na.png,1,1,0.9,none\n", "a.png is there more than once"),
        (HEADER + "a.png,1,1," + "9" * 200_000 + ",none\n", "field larger than field limit"),
    ],
)
def test_a_table_that_was_edited_has_its_sentence(tmp_path, text, sentence):
    write_rows(tmp_path, text)
    with pytest.raises(UserError, match=sentence) as error:
        read_table(tmp_path)
    assert "Restore the original file, or remove it" in str(error.value)


def test_a_table_without_rows_is_one_of_no_images(tmp_path):
    write_rows(tmp_path, HEADER)
    assert read_table(tmp_path) == []


def test_a_table_in_another_encoding_has_its_sentence_and_a_spreadsheets_mark_is_none(tmp_path):
    write_rows(tmp_path, HEADER + "é.png,1,1,0.9,none\n", "latin-1")
    with pytest.raises(UserError, match="in UTF-8 with commas"):
        read_table(tmp_path)
    write_rows(tmp_path, HEADER + "é.png,1,1,0.9,none\n", "utf-8-sig")
    assert read_table(tmp_path)[0].file == "é.png"


def test_images_that_were_deleted_or_damaged_give_way_to_others(tmp_path, capsys):
    kept = make_kept(tmp_path, target=4)
    add(kept, 4, epoch=1, first_seed=0)
    assert is_whole(tmp_path)
    (tmp_path / "accepted" / "epoch_00001_0000001.png").unlink()
    (tmp_path / "accepted" / "epoch_00001_0000002.png").write_bytes(b"half")
    assert not is_whole(tmp_path)
    assert "epoch_00001_0000001.png is gone" in capsys.readouterr().out
    again = make_kept(tmp_path, target=4)
    again.rewind(1)
    assert "0000001.png, epoch_00001_0000002.png are gone or damaged" in capsys.readouterr().out
    assert [row.seed for row in read_table(tmp_path)] == [0, 3]
    assert again.num_missing == 2
    assert is_whole(tmp_path)
    (tmp_path / "accepted.csv").unlink()
    assert not is_whole(tmp_path)
    assert "accepted.csv is gone" in capsys.readouterr().out


def test_images_whose_table_is_gone_are_said_before_they_give_way(tmp_path, capsys):
    kept = make_kept(tmp_path)
    kept.rewind(0)
    assert capsys.readouterr().out == ""  # a run that begins
    add(kept, 2, epoch=1, first_seed=0)
    (tmp_path / "accepted.csv").unlink()
    make_kept(tmp_path).rewind(1)
    out = capsys.readouterr().out
    assert "accepted.csv is gone: others take the place of the 2 image(s) in accepted." in out
    assert read_table(tmp_path) == [] == list((tmp_path / "accepted").iterdir())


def test_the_listings_images_stay_where_no_others_can_take_their_place(tmp_path, capsys):
    kept = make_kept(tmp_path, rule="paper_code")
    add(kept, 3, epoch=1, first_seed=0)
    files = [path.read_bytes() for path in kept.get_files()]
    table = (tmp_path / "accepted.csv").read_bytes()
    (tmp_path / "accepted.csv").unlink()
    with pytest.raises(UserError, match=r"the 3 image\(s\) in accepted, is gone\. Rule paper_code"):
        make_kept(tmp_path, rule="paper_code").rewind(1)
    assert [path.read_bytes() for path in kept.get_files()] == files
    (tmp_path / "accepted.csv").write_bytes(table)
    (tmp_path / "accepted" / "epoch_00001_0000001.png").unlink()
    make_kept(tmp_path, rule="paper_code").rewind(1)
    assert "they are left out, because rule paper_code keeps" in capsys.readouterr().out
    assert [row.seed for row in read_table(tmp_path)] == [0, 2]
