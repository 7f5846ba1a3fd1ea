"""The answers of readers: their files are a stranger's, and what is said of them is counted."""

import json
import os

import numpy as np
import pytest

from jaxgan.core.errors import UserError
from jaxgan.experiments.reader_answers import judge, read_answers, report_readers

WORDS = ("real", "generated")
TRUTH = [WORDS[i % 2] for i in range(50)]


def make_record(num_wrong=0, first=0, **changes):
    answers = list(TRUTH)
    for i in range(first, first + num_wrong):
        answers[i] = WORDS[1 - WORDS.index(answers[i])]
    return {
        "kind": "jaxgan reader study", "format": 1, "study": "ab", "class": "left",
        "reader": "R1", "answers": answers, "truth": TRUTH, **changes,
    }  # fmt: skip


def write(path, *args, **changes):
    path.write_text(json.dumps(make_record(*args, **changes)))
    return path


def test_a_reader_who_can_tell_and_one_who_can_not(tmp_path, capsys):
    files = [write(tmp_path / "a.json", 10), write(tmp_path / "b.json", 24, 5, reader="R2")]
    result = report_readers(files)
    said = capsys.readouterr().out
    assert "R1 could tell generated from real images: 40 of 50 right, 80.0 % [67.0, 88.8]." in said
    assert (
        "R2 could not tell generated from real images (the interval holds 50 %): 26 of 50 right, "
        "52.0 % [38.5, 65.2]." in said
    )
    assert "Of the generated images 80.0 % [60.9, 91.1] were called generated" in said
    assert "These 2 readers together could tell" in said
    assert "mean accuracy 66.0 % [52.2, 77.6], from 52.0% to 80.0%" in said
    # Wrong: 0 to 9, and 5 to 28. So 5 to 9 alike, and 21 images after; 50 - 5 - 19 agree.
    assert result["agreement"] == pytest.approx((50 - 5 - 19) / 50)
    assert (
        f"Readers agree in 52.0% of pairs of answers: Cohen's kappa {result['kappa']:.2f}" in said
    )
    assert "With 50 images, 32 right answers (64%) are the fewest that are better" in said


def test_one_reader_has_no_mean_and_three_have_fleiss_kappa(tmp_path, capsys):
    files = [write(tmp_path / f"{i}.json", 5 * i, reader=f"R{i}") for i in range(3)]
    assert report_readers(files[:1])["mean"] is None
    assert "kappa" not in capsys.readouterr().out
    report_readers(files)
    assert "Fleiss' kappa" in capsys.readouterr().out


def test_the_order_of_files_changes_only_the_order_of_sentences(tmp_path):
    files = [write(tmp_path / f"{i}.json", 5 * i, reader=f"R{i}") for i in range(3)]
    one, other = report_readers(files), report_readers(files[::-1])
    assert one["readers"] == other["readers"]
    assert one["kappa"] == pytest.approx(other["kappa"])
    assert one["mean"]["accuracy"]["value"] == pytest.approx(other["mean"]["accuracy"]["value"])


def test_readers_who_gave_one_answer_to_every_image_have_no_kappa(tmp_path, capsys):
    same = {"answers": ["real"] * 50}
    files = [write(tmp_path / f"{i}.json", reader=f"R{i}", **same) for i in range(2)]
    assert report_readers(files)["kappa"] is None
    assert "Cohen's kappa has no value: all gave one answer" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("interval", "words"),
    [
        ((0.51, 0.7), "could tell generated"),
        ((0.5, 0.7), "could not tell generated"),
        ((0.3, 0.5), "could not tell generated"),
        ((0.3, 0.49), "saw a difference, but named it the wrong way round"),
    ],
)
def test_an_interval_decides(interval, words):
    assert judge(interval).startswith(words)


NONE, DAMAGED = "holds no answers of a reader study", "is damaged or was edited"


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("", NONE),
        ("[]", NONE),
        ("{}", NONE),
        ("{" * 100_000, NONE),
        ("\ufeff\x00\x1b", NONE),
        (json.dumps(make_record(kind="other")), NONE),
        (json.dumps(make_record(kind=["jaxgan reader study"])), NONE),
        (json.dumps(make_record()) + " " * 2**20, NONE),
        (json.dumps(make_record(format=2)), "has format '2', expected 1"),
        (json.dumps(make_record(format="\x1b[31m" * 99)), "has format "),
        (json.dumps(make_record(answers=TRUTH[:-1])), DAMAGED),
        (json.dumps(make_record(answers=[*TRUTH[:-1], "maybe"])), DAMAGED),
        (json.dumps(make_record(answers=[*TRUTH[:-1], ["real"]])), DAMAGED),
        (json.dumps(make_record(answers=[*TRUTH[:-1], None])), DAMAGED),
        (json.dumps(make_record(answers="real")), DAMAGED),
        (json.dumps(make_record(answers={str(i): "real" for i in range(50)})), DAMAGED),
        (json.dumps(make_record(answers=[], truth=[])), DAMAGED),
        (json.dumps(make_record(truth=["real"] * 50)), DAMAGED),
        (json.dumps(make_record(truth=None)), DAMAGED),
        (json.dumps(make_record(reader=7)), DAMAGED),
        (json.dumps(make_record(study=None)), DAMAGED),
        (json.dumps(make_record(answers=["real"] * 20_000, truth=TRUTH * 400)), DAMAGED),
    ],
)
def test_a_damaged_file_gives_a_sentence(content, sentence, tmp_path):
    file = tmp_path / "a\x1b[31m.json"
    file.write_text(content)
    with pytest.raises(UserError, match=sentence) as raised:
        read_answers(file)
    assert "\x1b" not in str(raised.value)


def test_what_is_no_file_gives_a_sentence(tmp_path):
    with pytest.raises(UserError, match="There is no file"):
        read_answers(tmp_path / "absent.json")
    with pytest.raises(UserError, match=NONE):
        read_answers(tmp_path)
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(UserError, match=NONE):
        read_answers(tmp_path / "pipe")


def test_a_reader_s_code_controls_nothing(tmp_path, capsys):
    name = "\x1b[31mR\nError: \u202e" + "x" * 10_000
    report_readers([write(tmp_path / "a.json", reader=name)])
    said = capsys.readouterr().out
    assert "\x1b" not in said and "\u202e" not in said and "x" * 50 not in said
    assert said.startswith("\\x1b[31mR\\nError: \\u202e")


def test_readers_without_a_code_or_with_the_same_have_the_name_of_their_file(tmp_path):
    files = [write(tmp_path / f"{i}.json", reader=name) for i, name in enumerate(("A", "A", " "))]
    files.append(write(tmp_path / "3.json", reader="B"))
    assert list(report_readers(files)["readers"]) == [*map(str, files[:3]), "B"]


def test_answers_to_different_pages_and_the_same_file_twice_are_refused(tmp_path):
    one, other = write(tmp_path / "a.json"), write(tmp_path / "b.json", study="cd")
    with pytest.raises(UserError, match="are answers to different pages"):
        report_readers([one, other])
    turned = write(tmp_path / "c.json", truth=TRUTH[::-1])
    with pytest.raises(UserError, match="are answers to different pages"):
        report_readers([one, turned])
    with pytest.raises(UserError, match="one file of answers twice"):
        report_readers([one, tmp_path / "." / "a.json"])


def test_the_numbers_are_those_of_the_answers(tmp_path):
    found = read_answers(write(tmp_path / "a.json", 3))
    assert (found.answers != found.truth).sum() == 3
    np.testing.assert_array_equal(found.truth, [i % 2 == 1 for i in range(50)])
