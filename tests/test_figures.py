from pathlib import Path

import matplotlib
import numpy as np
import pytest
from matplotlib.colors import to_hex
from PIL import Image

from jaxgan.core.errors import DiskError
from jaxgan.gans.objectives import OBJECTIVES
from jaxgan.metrics.classification import compute_classification_report, compute_wilson_interval
from jaxgan.reports import classifier_figures, drawing, gan_figures, study_figures


def make_images(num, size=64, channels=1, seed=0):
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (num, size, size, channels), np.uint8)


def make_gan_records(num):
    rng = np.random.default_rng(0)
    return [
        {
            "step": 2 * epoch,
            "epoch": epoch,
            "loss_d": 0.5 + 0.1 * rng.random(),
            "loss_g": 2 + rng.random(),
            "d_real": 0.8,
            "d_fake": 0.3,
            "d_fake_after": 0.2,
            **({"acceptance_rate": 0.01 * epoch} if epoch % 5 == 0 else {}),
        }
        for epoch in range(1, num + 1)
    ]


def make_gmd_records():
    return [
        {"epoch": 1, "loss": 1.1, "accuracy": 0.4},
        {"epoch": 2, "loss": 0.9, "accuracy": 0.5, "val_accuracy": 44 / 88, "val_loss": 1.0},
        {"epoch": 3, "loss": 0.8, "accuracy": 0.6},
        {"epoch": 4, "loss": 0.7, "accuracy": 0.7, "val_accuracy": 66 / 88, "val_loss": 0.9},
    ]


def make_report():
    labels, predicted = np.array([0, 0, 0, 1, 1]), np.array([0, 0, 2, 1, 0])
    return compute_classification_report(
        probabilities=np.eye(3)[predicted], labels=labels, class_names=("a$b", "$\\nosuch$")
    )


@pytest.fixture
def drawn(monkeypatch):
    """Collect the figures as they are rendered, to look inside."""
    found, render = [], drawing._render

    def keep(figure):
        found.append(figure)
        return render(figure)

    monkeypatch.setattr(drawing, "_render", keep)
    return found


def heavy_lines(axes):
    """Return label -> line of what stands in the legend."""
    return {line.get_label(): line for line in axes.lines if line.get_label()[0] != "_"}


def notes_of(figure):
    return " ".join(figure.get_supxlabel().split())


DRAWINGS = {
    "grid": lambda path: drawing.write_grid(make_images(5), path),
    "losses": lambda path: gan_figures.plot_gan_losses(
        make_gan_records(120), path, title="t", meaning=None
    ),
    "acceptance": lambda path: gan_figures.plot_acceptance(
        make_gan_records(20), path, title="t", rule="paper_text", threshold=0.76
    ),
    "histogram": lambda path: gan_figures.plot_score_histogram(
        np.linspace(0, 1, 50),
        path,
        title="t",
        meaning=None,
        threshold=0.76,
    ),
    "beside": lambda path: gan_figures.plot_real_beside_generated(
        make_images(3), make_images(2), path, title="t"
    ),
    "accuracy": lambda path: classifier_figures.plot_accuracy(
        make_gmd_records(), path, title="t", val_count=88
    ),
    "confusion": lambda path: classifier_figures.plot_confusion_matrix(
        make_report(), path, title="t"
    ),
}


@pytest.mark.parametrize("name", DRAWINGS)
def test_same_input_gives_the_same_bytes_whatever_the_settings(name, tmp_path):
    DRAWINGS[name](tmp_path / "new" / "one.png")
    with matplotlib.rc_context({"lines.linewidth": 9, "font.size": 30, "axes.facecolor": "red"}):
        DRAWINGS[name](tmp_path / "two.png")
    content = (tmp_path / "two.png").read_bytes()
    assert content == (tmp_path / "new" / "one.png").read_bytes()
    assert b"Software" not in content
    assert b"tIME" not in content
    assert sorted(p.name for p in tmp_path.iterdir()) == ["new", "two.png"]
    with Image.open(tmp_path / "two.png") as image:
        assert len(np.unique(np.asarray(image))) > 10


def test_failure_leaves_the_old_picture_whole(tmp_path, monkeypatch):
    path = tmp_path / "grid.png"
    drawing.write_grid(make_images(2), path)
    before, write = path.read_bytes(), Path.write_bytes

    def write_half(target, content):
        write(target, content[:10])
        raise OSError("disk full")

    monkeypatch.setattr(Path, "write_bytes", write_half)
    with pytest.raises(DiskError, match="disk full"):
        drawing.write_grid(make_images(3), path)
    assert path.read_bytes() == before


def test_drawing_leaves_the_users_settings_alone(tmp_path):
    before = dict(matplotlib.rcParams)
    DRAWINGS["losses"](tmp_path / "a.png")
    assert dict(matplotlib.rcParams) == before


@pytest.mark.parametrize(("channels", "mode"), [(1, "L"), (3, "RGB")])
def test_grid_holds_every_pixel(channels, mode, tmp_path):
    images = make_images(5, size=4, channels=channels)
    drawing.write_grid(images, tmp_path / "grid.png", columns=3, scale=2)
    with Image.open(tmp_path / "grid.png") as image:
        assert image.mode == mode
        sheet = np.asarray(image).reshape(image.height, image.width, channels)
    assert sheet.shape == (2 * 8 + 2, 3 * 8 + 2 * 2, channels)
    for index in range(5):
        top, left = index // 3 * 10, index % 3 * 10
        cell = sheet[top : top + 8, left : left + 8]
        for row in range(2):
            for column in range(2):
                np.testing.assert_array_equal(cell[row::2, column::2], images[index])
    assert (sheet[8:10] == 255).all()
    assert (sheet[:, 8:10] == 255).all()
    assert (sheet[10:, 20:] == 255).all()


def test_grid_enlarges_small_images_only(tmp_path):
    for size, expected in ((32, 128), (64, 128), (150, 150)):
        drawing.write_grid(make_images(1, size=size), tmp_path / "grid.png")
        with Image.open(tmp_path / "grid.png") as image:
            assert image.size == (expected, expected)


@pytest.mark.parametrize(
    "images", [np.zeros((2, 4, 4, 1), np.float32), np.zeros((4, 4, 1), np.uint8), make_images(0)]
)
def test_grid_refuses_what_is_no_image(images, tmp_path):
    with pytest.raises(ValueError, match="images"):
        drawing.write_grid(images, tmp_path / "grid.png")
    assert not list(tmp_path.iterdir())


def test_losses_of_a_short_run_are_drawn_as_they_are(drawn, tmp_path):
    records = make_gan_records(20)
    gan_figures.plot_gan_losses(records, tmp_path / "a.png", title="t", meaning=None)
    losses, scores = drawn[0].axes
    line = heavy_lines(losses)["G"]
    np.testing.assert_array_equal(line.get_xdata(), np.arange(1, 21))
    np.testing.assert_array_equal(line.get_ydata(), [r["loss_g"] for r in records])
    np.testing.assert_array_equal(
        heavy_lines(losses)["D"].get_ydata(), [r["loss_d"] for r in records]
    )
    values = {label: line.get_ydata()[0] for label, line in heavy_lines(scores).items()}
    assert values == {"D(x), real": 0.8, "D(G(z)) before D's update": 0.3, "after it": 0.2}
    assert losses.get_yscale() == "linear"
    assert notes_of(drawn[0]) == ""


def test_losses_of_a_long_run_are_smoothed(drawn, tmp_path):
    records = make_gan_records(4000)
    gan_figures.plot_gan_losses(records, tmp_path / "a.png", title="t", meaning=None)
    losses = drawn[0].axes[0]
    raw, smooth = losses.lines[0], heavy_lines(losses)["G"]
    np.testing.assert_array_equal(raw.get_ydata(), [r["loss_g"] for r in records])
    assert raw.get_alpha() < 0.5
    expected = np.median([r["loss_g"] for r in records[2000 - 80 : 2000 + 81]])
    assert smooth.get_ydata()[2000] == expected
    assert "median of 161 values" in notes_of(drawn[0])


def test_exploding_losses_stay_readable(drawn, tmp_path):
    records = make_gan_records(30)
    records[20]["loss_g"] = 1e6
    records[28]["loss_g"] = float("nan")
    records[29]["loss_g"] = float("inf")
    gan_figures.plot_gan_losses(records, tmp_path / "a.png", title="t", meaning=None)
    losses = drawn[0].axes[0]
    assert losses.get_yscale() == "symlog"
    assert "reached 1e+06" in notes_of(drawn[0])
    assert "G: 2 values were not finite" in notes_of(drawn[0])
    assert "first at epoch 29" in notes_of(drawn[0])
    assert np.isfinite(losses.get_ylim()).all()


@pytest.mark.parametrize("value", [None, float("nan")])
def test_losses_that_were_never_finite(value, drawn, tmp_path):
    records = [{"step": 1, "epoch": 1, "loss_d": value, "loss_g": value, "acceptance_rate": value}]
    gan_figures.plot_gan_losses(records, tmp_path / "a.png", title="t", meaning=None)
    assert [text.get_text() for text in drawn[0].axes[0].texts] == ["nothing recorded"]
    gan_figures.plot_acceptance(records, tmp_path / "b.png", title="t", rule="none", threshold=None)
    assert [text.get_text() for text in drawn[1].axes[0].texts] == ["nothing recorded"]


def test_no_records_at_all(drawn, tmp_path):
    gan_figures.plot_gan_losses([], tmp_path / "a.png", title="t", meaning=None)
    classifier_figures.plot_accuracy([], tmp_path / "b.png", title="t", val_count=88)
    gan_figures.plot_acceptance([], tmp_path / "c.png", title="t", rule="r", threshold=0.76)
    for figure in drawn:
        for axes in figure.axes:
            assert [text.get_text() for text in axes.texts] == ["nothing recorded"]
    assert notes_of(drawn[2]) == "Rule r, threshold 0.76."


def test_acceptance(drawn, tmp_path):
    gan_figures.plot_acceptance(
        make_gan_records(20), tmp_path / "a.png", title="t", rule="paper_text", threshold=0.76
    )
    axes = drawn[0].axes[0]
    np.testing.assert_array_equal(axes.lines[0].get_xdata(), [5, 10, 15, 20])
    np.testing.assert_allclose(axes.lines[0].get_ydata(), [0.05, 0.1, 0.15, 0.2])
    assert 0.2 < axes.get_ylim()[1] < 0.25
    assert notes_of(drawn[0]) == "Rule paper_text, threshold 0.76: at most 20.0% kept."
    nothing = [{"epoch": epoch, "acceptance_rate": 0.0} for epoch in range(40)]
    gan_figures.plot_acceptance(nothing, tmp_path / "a.png", title="t", rule="none", threshold=None)
    assert notes_of(drawn[1]) == "Rule none: none kept in 40 records."


def test_score_histogram(drawn, tmp_path):
    scores = np.array([0.01, 0.31, 0.77, np.nan], np.float32)
    gan_figures.plot_score_histogram(
        scores,
        tmp_path / "a.png",
        title="t",
        meaning=None,
        threshold=0.5,
    )
    axes = drawn[0].axes[0]
    assert [text.get_text() for text in axes.get_legend().get_texts()] == [
        "generated, 4 images, 25.0% at or above 0.5",
        "D = 0.5",
    ]
    bars = [bar for bar in axes.patches if to_hex(bar.get_facecolor()) == drawing.ORANGE.lower()]
    heights = {round(bar.get_x(), 2): bar.get_height() for bar in bars[:50] if bar.get_height()}
    assert heights == {0.0: 0.25, 0.3: 0.25, 0.76: 0.25}
    assert list(axes.lines[0].get_xdata()) == [0.5, 0.5]
    assert notes_of(drawn[0]) == "1 scores of generated images were not finite."


def test_score_histogram_without_scores_or_threshold(drawn, tmp_path):
    gan_figures.plot_score_histogram(
        np.zeros(0), tmp_path / "a.png", title="t", meaning=None, threshold=None
    )
    assert notes_of(drawn[0]) == "There is no generated image to score."
    assert not drawn[0].axes[0].lines


@pytest.mark.parametrize("objective", ["hinge", "least_squares", "wasserstein"])
def test_a_score_that_is_no_probability_is_not_called_one(objective, drawn, tmp_path):
    scores = np.array([-8.0, 1.0, 12.0, np.nan])
    gan_figures.plot_score_histogram(
        scores, tmp_path / "a.png", title="t", meaning=OBJECTIVES[objective].meaning, threshold=None
    )
    axes = drawn[0].axes[0]
    assert axes.get_xlabel().startswith(f"D's score ({objective.replace('_', ' ')}: ")
    assert axes.get_xlim()[0] < -8.0 and axes.get_xlim()[1] > 12.0
    heights = [bar.get_height() for bar in axes.patches[:50]]
    assert np.flatnonzero(heights).tolist() == [0, 22, 49]
    assert sum(heights) == pytest.approx(0.75)
    records = [
        {"epoch": e, "loss_g": 1.0, "loss_d": 1.0, "d_score_real": 9.0, "d_score_fake": -7.0}
        for e in (1, 2)
    ]
    gan_figures.plot_gan_losses(
        records, tmp_path / "b.png", title="t", meaning=OBJECTIVES[objective].meaning
    )
    panel = drawn[1].axes[1]
    assert panel.get_ylabel() == "mean of D's score"
    assert panel.get_ylim()[0] < -7.0 and panel.get_ylim()[1] > 9.0
    assert "D's score is not a probability" in notes_of(drawn[1])
    # What runs of before have noted are sigmoids, which say nothing: they are not drawn.
    before = [{"epoch": 1, "loss_g": 1.0, "loss_d": 1.0, "d_real": 0.9, "d_fake": 0.1}]
    gan_figures.plot_gan_losses(
        before, tmp_path / "c.png", title="t", meaning=OBJECTIVES[objective].meaning
    )
    assert [text.get_text() for text in drawn[2].axes[1].texts] == ["nothing recorded"]


@pytest.mark.parametrize("value", [3.0, -1e9, np.nan])
def test_equal_scores_have_a_histogram_too(value, drawn, tmp_path):
    scores = np.full(4, value)
    gan_figures.plot_score_histogram(
        scores, tmp_path / "a.png", title="t", meaning=OBJECTIVES["hinge"].meaning, threshold=None
    )
    low, high = drawn[0].axes[0].get_xlim()
    assert low < high and (np.isnan(value) or low < value < high)


def test_real_beside_generated_shows_every_pixel(tmp_path):
    real, generated = make_images(40, channels=3), make_images(5, seed=1)
    gan_figures.plot_real_beside_generated(real, generated, tmp_path / "a.png", title="t")
    with Image.open(tmp_path / "a.png") as image:
        page = np.asarray(image.convert("RGB"))
    left, right, top = 24, 24 + 4 * 130 - 2 + 24, 84
    assert page.shape == (84 + 8 * 130 - 2 + 24, right + 4 * 130 - 2 + 24, 3)
    for index in (0, 3, 31):
        row, column = top + index // 4 * 130, left + index % 4 * 130
        np.testing.assert_array_equal(
            page[row : row + 128 : 2, column : column + 128 : 2], real[index]
        )
    for index in (0, 4):
        row, column = top + index // 4 * 130, right + index % 4 * 130
        cell = page[row : row + 128 : 2, column : column + 128 : 2]
        np.testing.assert_array_equal(cell, generated[index].repeat(3, axis=-1))
    assert (page[top + 2 * 130 :, right:] == 255).all()


def test_real_beside_nothing(drawn, tmp_path):
    gan_figures.plot_real_beside_generated(
        make_images(3), make_images(0), tmp_path / "a.png", title="kept"
    )
    texts = [text.get_text() for text in drawn[0].texts]
    assert texts == ["kept", "real (3)", "generated (0)", "no generated image to show"]
    gan_figures.plot_real_beside_generated(
        make_images(0), make_images(0), tmp_path / "a.png", title="kept"
    )
    assert "no real image to show" in [text.get_text() for text in drawn[1].texts]


def test_accuracy_band_is_wilsons(drawn, tmp_path):
    classifier_figures.plot_accuracy(
        make_gmd_records(), tmp_path / "a.png", title="t", val_count=88
    )
    accuracies, losses = drawn[0].axes
    line = heavy_lines(accuracies)["validation, 88 images"]
    np.testing.assert_array_equal(line.get_xdata(), [2, 4])
    np.testing.assert_array_equal(line.get_ydata(), [0.5, 0.75])
    np.testing.assert_array_equal(
        heavy_lines(accuracies)["training, running"].get_ydata(), [0.4, 0.5, 0.6, 0.7]
    )
    corners = {tuple(c) for c in accuracies.collections[0].get_paths()[0].vertices.round(9)}
    low, high = (bound.round(9) for bound in compute_wilson_interval(np.array([44, 66]), 88))
    assert {(2, low[0]), (2, high[0]), (4, low[1]), (4, high[1])} <= corners
    np.testing.assert_array_equal(heavy_lines(losses)["training"].get_ydata(), [1.1, 0.9, 0.8, 0.7])
    np.testing.assert_array_equal(heavy_lines(losses)["validation"].get_ydata(), [1.0, 0.9])


def test_confusion_matrix(drawn, tmp_path):
    classifier_figures.plot_confusion_matrix(make_report(), tmp_path / "a.png", title="t")
    axes = drawn[0].axes[0]
    assert [text.get_text() for text in axes.texts] == [
        *("2\n67%", "0\n0%", "1\n33%"),
        *("1\n50%", "1\n50%", "0\n0%"),
    ]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["a$b (3)", "$\\nosuch$ (2)"]
    assert [label.get_text() for label in axes.get_xticklabels()] == [
        "a$b",
        "$\\nosuch$",
        "outside",
    ]
    assert notes_of(drawn[0]).startswith("Accuracy 60.0% (3 of 5), 95 % interval 23.1% to 88.2%")


def test_confusion_matrix_with_an_absent_class(drawn, tmp_path):
    report = compute_classification_report(
        probabilities=np.eye(2), labels=np.array([0, 0]), class_names=("a", "b")
    )
    classifier_figures.plot_confusion_matrix(report, tmp_path / "a.png", title="t")
    texts = [text.get_text() for text in drawn[0].axes[0].texts]
    assert texts == ["1\n50%", "1\n50%", "0", "0"]


@pytest.mark.parametrize("num", [21, 200, 1000])
def test_a_confusion_matrix_of_many_classes_does_not_grow_with_them(num, drawn, tmp_path):
    labels = np.repeat(np.arange(num), 3)
    predicted = labels.copy()
    predicted[:2] = 7
    names = [f"{'x' * 250}{label}" if label % 2 else f"c{label}" for label in range(num)]
    report = compute_classification_report(
        probabilities=np.eye(num, dtype=np.float32)[predicted], labels=labels, class_names=names
    )
    classifier_figures.plot_confusion_matrix(report, tmp_path / "a.png", title="t")
    axes = drawn[0].axes[0]
    assert max(drawn[0].get_size_inches()) <= 9.0
    assert axes.texts[:] == [] and axes.images[0].get_array().shape == (num, num)
    labels = [tick.get_text() for tick in axes.get_yticklabels()]
    assert len(labels) == drawing.MOST_ROWS and labels[0] == "c0"
    assert all(len(label) <= 20 for label in labels)
    note = notes_of(drawn[0])
    assert f"{num} classes: shades" in note and f"c0 as {'x' * 17}... (2)." in note


def test_twenty_classes_are_still_written_out(drawn, tmp_path):
    report = compute_classification_report(
        probabilities=np.eye(20),
        labels=np.arange(20),
        class_names=[f"c{label}" for label in range(20)],
    )
    classifier_figures.plot_confusion_matrix(report, tmp_path / "a.png", title="t")
    assert len(drawn[0].axes[0].texts) == 400


def test_of_many_rows_some_are_shown_evenly_spread():
    assert drawing.choose_shown(range(16)) == range(16)
    shown = list(drawing.choose_shown([str(i) for i in range(200)]))
    assert len(shown) == 16 and shown[0] == "0" and shown[-1] == "199"
    assert set(np.diff([int(i) for i in shown])) == {13, 14}


def test_the_selected_epoch_and_a_collapse_are_in_the_picture_of_quality(tmp_path, drawn):
    records = [
        {"epoch": epoch, "kernel_distance": distance}
        for epoch, distance in ((10, 8.0), (20, 1.0), (30, 3.0))
    ]
    report = {
        "floor": 0.1,
        "selected_epoch": 20,
        "best": {"epoch": 20, "kernel_distance": 1.0},
        "collapse": "The run has collapsed.",
    }
    gan_figures.plot_quality(records, tmp_path / "metric.png", title="t", report=report)
    (figure,) = drawn
    curve, floor, selected = figure.axes[0].lines
    np.testing.assert_array_equal(curve.get_ydata(), [8.0, 1.0, 3.0])
    assert floor.get_ydata()[0] == 0.1
    assert selected.get_xdata()[0] == 20
    assert "collapsed" in figure.get_supxlabel()


def test_the_collapse_of_many_classes_leaves_room_for_the_picture(tmp_path, drawn):
    sentence = "Class {}: the run has collapsed, or has hardly begun, as its images say."
    report = {
        "floor": 0.1,
        "selected_epoch": 1,
        "best": {"epoch": 1, "kernel_distance": 1.0},
        "collapse": " ".join(sentence.format(label) for label in range(40)),
    }
    records = [{"epoch": 1, "kernel_distance": 8.0}]
    gan_figures.plot_quality(records, tmp_path / "metric.png", title="t", report=report)
    note = notes_of(drawn[0])
    assert note.endswith("... (more in report.json)") and len(note) < 450
    assert drawn[0].axes[0].get_position().height > 0.3


def test_every_training_of_an_ablation_is_a_dot(tmp_path, drawn):
    rows = {
        name: {
            key: {"value": np.mean(values), "values": values, "floor": 0.1}
            for key in ("kernel_distance", "recall")
        }
        for name, values in (("paper", [2.0, 3.0]), ("all", [0.5, 0.7]))
    }
    study_figures.plot_ablation(rows, tmp_path / "ablation.png", title="t")
    dots = [line.get_xdata() for line in drawn[0].axes[0].lines if line.get_marker() == "o"]
    np.testing.assert_array_equal(dots, [[2.0, 3.0], [0.5, 0.7]])


def test_rows_show_every_image_below_its_label(tmp_path):
    images = np.zeros((9, 8, 8, 1), np.uint8)
    images[1] = 255
    drawing.plot_rows([("one", images), ("two", images)], tmp_path / "rows.png", title="t")
    drawn = np.asarray(Image.open(tmp_path / "rows.png").convert("L"))
    height, width = drawn.shape
    # Of the first 8 of each row all but the second are black: 14 squares of 1.2 by 1.2 inches.
    inch = width / 10.5
    assert abs((drawn < 10).sum() / inch**2 - 14 * 1.44) < 0.5
    assert abs(height / inch - 4.0) < 0.02


def test_a_rate_that_changes_has_a_panel(tmp_path, drawn):
    def draw_gan(records):
        gan_figures.plot_gan_losses(records, tmp_path / "a.png", title="t", meaning=None)

    def draw_gmd(records):
        classifier_figures.plot_accuracy(records, tmp_path / "a.png", title="t", val_count=88)

    for draw, records in ((draw_gan, make_gan_records(4)), (draw_gmd, make_gmd_records())):
        draw(records)
        draw([{**record, "learning_rate": 0.1 / record["epoch"]} for record in records])
        usual, varied = drawn[-2:]
        assert [axes.get_xlabel() for axes in usual.axes] == ["", "epoch"]
        assert [axes.get_xlabel() for axes in varied.axes] == ["", "", "epoch"]
        (line,) = varied.axes[2].lines
        np.testing.assert_allclose(line.get_ydata(), [0.1, 0.1 / 2, 0.1 / 3, 0.1 / 4])
