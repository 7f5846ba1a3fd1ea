"""What results show in a notebook: everything from files is escaped, pictures are inside."""

import base64
import io
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
from PIL import Image

import jaxgan
from jaxgan.evaluation.evaluate import Evaluation
from jaxgan.experiments.predict import Predictions
from jaxgan.experiments.train_classifier import TrainedClassifier
from jaxgan.experiments.train_gan import TrainedGan
from jaxgan.metrics.classification import compute_classification_report
from jaxgan.reports import html
from jaxgan.study.notebook import show_study

EVIL = "<script>alert(1)</script>\x1b[31m&\"'\u202e"
FILMS = np.random.default_rng(0).integers(0, 256, (40, 24, 24), np.uint8)
TAGS = {
    *("div", "p", "table", "tr", "th", "td", "figure", "img", "figcaption", "details"),
    *("summary", "span"),
}


class Reader(HTMLParser):
    """Collects the tags and the text, and sees that tags are closed."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.words, self.open = [], [], []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        assert tag in TAGS
        assert {name for name, _ in attrs} <= {"class", "style", "src", "alt", "width"}
        self.tags.append(tag)
        if tag != "img":
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words.append(data)


def read(text):
    assert "\x1b" not in text
    assert "\u202e" not in text
    return Reader(text)


def test_names_from_files_are_only_text():
    shown = html.show_box(
        EVIL,
        html.show_sentences([EVIL]),
        html.show_notes([EVIL], EVIL),
        html.show_table([["a", EVIL], [EVIL, 1]]),
        html.show_images(FILMS[:1, ..., None], [EVIL]),
        html.show_picture(Path(EVIL), EVIL),
    )
    assert "".join(read(shown).words).count("<script>alert(1)</script>\\x1b[31m&\"'\\u202e") == 8


def test_pictures_are_inside_and_small(tmp_path):
    shown = html.show_images(np.full((2, 300, 200, 3), 7, np.uint8), ["a", "b"])
    content = re.findall(r"base64,([^\"]+)", shown)
    picture = Image.open(io.BytesIO(base64.b64decode(content[0])))
    assert (len(content), picture.size, picture.getpixel((9, 9))) == (2, (64, 96), (7, 7, 7))
    (tmp_path / "a.png").write_bytes(b"png")
    assert base64.b64encode(b"png").decode() in html.show_picture(tmp_path / "a.png", "a")


def test_long_tables_and_cells_are_cut():
    rows = [["name"], *([f"{n}" * 99] for n in range(100, 150))]
    words = read(html.show_table(rows, most=20)).words
    assert (len(words), words[-1], len(words[1])) == (22, "30 more", 200)
    assert html.show_notes([]) == ""


def test_a_measure_is_in_percent_with_its_interval():
    assert html.format_measure({"value": 0.825, "interval": [0.7, 0.9]}) == "82.5 % [70.0, 90.0]"
    assert html.format_measure({"value": 0.825, "interval": None}) == "82.5 %"
    assert html.format_measure({"value": None, "interval": None}) == "-"


# Results ---------------------------------------------------------------------------------------


def test_images_show_their_classes():
    shown = jaxgan.load_arrays(FILMS, [EVIL, "b"] * 20)._repr_html_()
    found = read(shown)
    assert found.tags.count("img") == 8
    assert "Patients: train: not known, val: not known." in found.words
    assert found.words.count("b") == 5  # of the table, and of four images


def test_a_trained_gan_shows_its_sentences(tmp_path):
    bare = TrainedGan(tmp_path, None, [], [], [])
    assert f"{tmp_path / 'figures' / 'samples.png'} is missing." in read(bare._repr_html_()).words
    collapsed = TrainedGan(tmp_path, {"collapse": EVIL}, [{"step": 1, "epoch": 7}], [], [])
    assert "7 epochs" in repr(collapsed)
    assert len(read(collapsed._repr_html_()).words) == 4


def test_a_trained_classifier_shows_accuracy_and_confusions(tmp_path):
    val = compute_classification_report(
        probabilities=np.array([[0.9, 0.1], [0.8, 0.2], [0.3, 0.7]]),
        labels=np.array([0, 1, 1]),
        class_names=[EVIL, "b"],
    )
    trained = TrainedClassifier(tmp_path, {"last": {"val": val}, "epochs": 4}, [], [])
    assert "4 epochs, validation accuracy 66.7 % [20.8, 93.9]" in repr(trained)
    words = read(trained._repr_html_()).words
    assert words[-3:] == ["b", "1", "1"]
    assert "Balanced accuracy: 75.0 %." in " ".join(words)
    assert "no report" in repr(TrainedClassifier(tmp_path, None, [], []))


def test_predictions_show_the_first_images():
    probabilities = np.tile([[0.2, 0.7, 0.1]], (30, 1))
    found = Predictions((*map(str, range(29)), EVIL), (EVIL, "b"), probabilities)
    assert repr(found) == "<Predictions of 30 images: 30 b>"
    words = read(found._repr_html_()).words
    assert words[-1] == "10 more"
    assert words[-6:-1] == ["19", "b", "20.0 %", "70.0 %", "10.0 %"]


def test_an_evaluation_shows_its_verdict(tmp_path):
    measure = {"value": 0.5, "interval": [0.4, 0.6], "floor": 0.3, "n": 20}
    metrics = {
        "verdict": {"word": "good", "finding": "Found.", "advice": "Do."},
        "against": {"name": EVIL},
        "notes": [EVIL],
        "recall": measure,
    }
    found = Evaluation(metrics, tmp_path / "a.json", tmp_path / "a.png")
    assert repr(found) == "<Evaluation: good. Found. Do.>"
    words = read(found._repr_html_()).words
    assert words[words.index("recall") + 1 :][:4] == ["0.5", "[0.4, 0.6]", "0.3", "20"]


def test_a_study_shows_its_headline_and_differences(tmp_path):
    def estimate(low, high):
        return {"interval": [low, high]}

    row = {
        **{"arm": EVIL, "control": "real", "difference": 0.1},
        **{"by_patient": estimate(0.05, 0.2), "by_training": {"interval": None}},
    }
    report = {"comparisons": [row], "verdict": "helps", "sentence": "It helps."}
    shown = show_study(report, tmp_path)
    words = read(shown).words
    assert words[:2] == ["GAN augmentation helps", "It helps."]
    assert words[-2].endswith(": +10.0 [+5.0, +20.0]")
    assert shown.count("position:absolute") == 3  # zero, the interval, the estimate
