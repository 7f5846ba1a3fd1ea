import numpy as np
import pytest

from jaxgan.metrics.classification import compute_classification_report
from jaxgan.reports.tables import format_arms

NAMES = ("covid", "pneumonia", "normal")


def make_result(correct, counts=(33, 22, 33)):
    labels = np.repeat(np.arange(3), counts)
    wrong = np.arange(len(labels)) >= correct
    predicted = np.where(wrong, (labels + 1) % 3, labels)
    return compute_classification_report(
        probabilities=np.eye(4)[predicted], labels=labels, class_names=NAMES
    )


def make_report(val_correct, *, synthetic=(0, 0, 0), epochs=200, fingerprint="abc", **splits):
    last = {"train": make_result(400, (155, 104, 168)), "val": make_result(val_correct)} | splits
    best = {"epoch": 140, "note": "chosen by this accuracy", "val": make_result(80)}
    return {
        "arm": "real",
        "data": {"name": "phantom", "fingerprint": fingerprint},
        "epochs": epochs,
        "synthetic_images": dict(zip(NAMES, synthetic, strict=True)),
        "last": last,
        "best": best,
    }


def rows_of(text, label):
    return [line for line in text.splitlines() if line.strip().startswith(label)]


def test_one_arm_prints_its_figures_and_no_comparison():
    text = format_arms({"real": make_report(75)})
    assert rows_of(text, "accuracy") == [
        "  accuracy            93.7 % [91.0, 95.6] 400/427",
        "  accuracy            85.2 % [76.3, 91.2] 75/88",
    ]
    assert "pneumonia           22 images" in text
    # the 13 wrong are the last normals, taken for covid: 20 of 33 right, 13 of 55 false covid
    assert rows_of(text, "sensitivity")[5].split()[1] == "60.6"
    assert rows_of(text, "specificity")[3].split()[1] == "76.4"
    # covid: positives all score 1; negatives 42 times 0, 13 times 1 (ties)
    assert rows_of(text, "AUC")[3].split()[1] == f"{(42 + 13 / 2) / 55:.3f}"
    assert "Best epoch of 'real': 140, validation accuracy 90.9 %" in text
    assert "80/88 (chosen by this accuracy)." in text
    assert "verdict" not in text
    assert "test" not in text


def test_two_arms_stand_side_by_side_in_one_order():
    real, augmented = make_report(75), make_report(77, synthetic=(192, 150, 61))
    text = format_arms({"augmented": augmented, "real": real})
    assert text.splitlines()[0].split() == ["real", "augmented"]
    assert rows_of(text, "synthetic images")[0].split()[2:] == ["0", "403"]
    assert rows_of(text, "covid")[0].split()[1:] == ["0", "192"]
    validation = rows_of(text, "accuracy")[1]
    assert validation.index("75/88") < validation.index("77/88")
    header = text.splitlines()[0]
    assert header.index("augmented") == validation.index("87.5")
    assert all(line == line.rstrip() for line in text.splitlines())


def test_small_difference_is_no_verdict():
    text = format_arms({"real": make_report(75), "augmented": make_report(77)})
    assert text.splitlines()[-1] == (
        "Validation accuracy, augmented minus real: +2.3 points (+2 of 88 images). "
        "One run per arm on 88 images can not show a difference smaller than about 12 points "
        "(80 % power, two-sided 5 %, unpaired). So this is not a verdict."
    )
    swapped = format_arms({"real": make_report(77), "augmented": make_report(75)})
    assert "-2.3 points (-2 of 88 images)" in swapped
    assert "about 12 points" in swapped


def test_large_difference_asks_for_repetition():
    text = format_arms({"real": make_report(60), "augmented": make_report(85)})
    assert "+28.4 points (+25 of 88 images)" in text
    assert "not a verdict: repeat it with other seeds" in text


def test_nothing_can_be_shown_near_the_top():
    text = format_arms({"real": make_report(87), "augmented": make_report(88)})
    assert "no gain can be shown, however large" in text


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"fingerprint": "other"}, "not run on the same data"),
        ({"val": make_result(75, (33, 22, 32))}, "not run on the same data"),
        ({"epochs": 20}, "ran for 200 and 20 epochs"),
    ],
)
def test_arms_that_cannot_be_compared_say_so(change, message):
    text = format_arms({"real": make_report(75), "augmented": make_report(77, **change)})
    assert message in text
    assert "points" not in text


def test_split_of_one_arm_only_and_absent_class():
    test = make_result(10, (10, 0, 10))
    text = format_arms({"real": make_report(75), "augmented": make_report(77, test=test)})
    section = text[text.index("\ntest\n") :].splitlines()
    assert section[2].split() == ["images", "-", "20"]
    assert section[3].split()[:3] == ["accuracy", "-", "50.0"]
    pneumonia = next(i for i, line in enumerate(section) if "pneumonia" in line)
    assert section[pneumonia + 1].split() == ["sensitivity", "-", "-"]
    assert section[pneumonia + 3].split() == ["AUC", "-", "-"]


def test_of_many_classes_the_weakest_are_shown_and_the_others_counted():
    """Of 200 classes a dozen are told wrong, in one arm or the other."""
    names = [f"c{n:03d}" for n in range(200)]
    labels = np.repeat(np.arange(200), 2)
    reports = {}
    for arm, wrong in (("real", (3, 50)), ("augmented", (50, 199))):
        predicted = np.where(np.isin(labels, wrong), 0, labels)
        result = compute_classification_report(
            probabilities=np.eye(200)[predicted], labels=labels, class_names=names
        )
        reports[arm] = make_report(75) | {
            "synthetic_images": dict.fromkeys(names, 4),
            "last": {"train": result, "val": result},
            "best": {"epoch": 1, "note": "n", "val": result},
        }
    text = format_arms(reports)
    assert len(text.splitlines()) < 130
    assert rows_of(text, "190 more") == ["  190 more"] * 3
    assert "the 10 classes with the lowest sensitivity. report.json has all" in text
    shown = {line.split()[0] for line in text.splitlines() if line.endswith("2 images")}
    assert {"c003", "c050", "c199"} <= shown and len(shown) == 10
    assert "sensitivity" not in text[: text.index("training")]
