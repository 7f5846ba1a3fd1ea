"""What a page says of results that no one had to train for: made up, with the flaws to be shown."""

import dataclasses
import html
import json
import re
import shutil
import subprocess

import flax.serialization
import jax
import numpy as np
import pytest

from jaxgan.core.errors import IncompleteError, UserError
from jaxgan.data.copies import Copies
from jaxgan.data.images import write_png
from jaxgan.data.sets import Dataset, ImageSet
from jaxgan.data.source import DataSpec, load_dataset
from jaxgan.reports import drawing, study_figures
from jaxgan.study import audit, page
from jaxgan.study.analysis import analyse
from jaxgan.study.arms import ARMS
from jaxgan.study.folds import Folds, create_folds, find_given_splits
from jaxgan.study.memory import compute_nearness, join_generated, summarise
from jaxgan.study.results import StudyResults
from jaxgan.training.jobs import Failure, check_complete
from tests.helpers import draw_films, make_dataset, make_dcgan_settings, make_study_settings

NAMES = ("正常", "肺炎")
GENERATORS = tuple((fold, 0, label) for fold in range(2) for label in range(2))


@pytest.fixture(autouse=True)
def _draw_no_lines(monkeypatch):
    """What these tests read is written; the curves' pictures are drawn for `large_page`."""

    def leave_blank(series, path, **options):
        drawing.write_grid(np.zeros((1, 8, 8, 1), np.uint8), path, columns=1)

    monkeypatch.setattr(study_figures, "plot_lines", leave_blank)


def make_films(num=24, *, first=0, patients=None):
    """Films of `num` patients, normal and pneumonia in turn, so clear that none looks copied."""
    kinds = ("normal", "pneumonia")
    labels = np.arange(num, dtype=np.int32) % 2
    films = [draw_films(kinds[label], 1, first + i) for i, label in enumerate(labels)]
    images = np.concatenate(films)
    files = tuple(f"{first + i}.png" for i in range(num))
    return ImageSet(images, labels, files, patients or tuple(f"p{first + i}" for i in range(num)))


def make_noise(num):
    """Images that are copies of nothing, without the time that films take to draw."""
    return np.random.default_rng(7).integers(0, 256, (num, 32, 32, 1), dtype=np.uint8)


def make_settings(**changes):
    values = {
        "arms": ("real", "duplicates", "classic", "gan"),
        "amount_arms": ("duplicates", "gan"),
        "holdout": 0.2,
        "pool": 1.0,
        "audit": True,
    }
    return make_study_settings(**{**values, **changes})


def make_generated(images, code_images=None):
    """What a generator's job leaves."""
    curve = np.array([1.0, 0.5])
    return {
        "images": images,
        "code_images": images[:0] if code_images is None else code_images,
        "scores": np.full(len(images), 0.5),
        "curve_step": np.arange(2),
        "curve_loss_d": curve,
        "curve_loss_g": curve,
        "variables": np.zeros(4, np.uint8),
        "num_learned": np.array(9),
        "num_steps": np.array(2),
    }


def make_results(
    splits=None,
    *,
    names=NAMES,
    notices=(),
    val_was_made=False,
    generators=GENERATORS,
    images=None,
    **changes,
):
    """Results whose classifiers are right three times in four, whatever the arm."""
    settings = make_settings(**changes)
    splits = splits or {"train": make_films()}
    dataset = Dataset("made", names, splits, "f" * 64, tuple(notices), val_was_made=val_was_made)
    folds = create_folds(dataset, settings.num_folds, settings.fold_seed)
    results = StudyResults(settings, dataset, folds, folds, settings.create_arms())
    rng = np.random.default_rng(0)
    for arm in results.arms:
        for seed in range(settings.num_seeds):
            for fold in range(settings.num_folds):
                labels = folds.get_test(fold).labels
                right = rng.random(len(labels)) < 0.75
                told = np.where(right, labels, 1 - labels)
                done = {
                    "probabilities": 0.1 + 0.8 * np.eye(2, dtype=np.float32)[told],
                    "curve_step": np.arange(2),
                    "curve_loss": np.ones(2),
                    "curve_accuracy": np.ones(2),
                }
                results.classifiers.setdefault(arm.name, {})[seed, fold] = done
                results.added.setdefault(arm.name, {})[seed, fold] = [3, 3]
    for fold, gan_seed, label in generators:
        finding = ("normal", "pneumonia")[label]
        made = draw_films(finding, 12, 1000 + 100 * fold + 10 * gan_seed)
        results.generators[fold, gan_seed, label] = make_generated(
            made if images is None else images
        )
    return results


def write(results, folder, command="python launch/study.py"):
    page.write_study(results, folder, command=command)
    return (folder / "report.html").read_text(), (folder / "summary.md").read_text()


def test_files_of_classes_differ_whatever_the_classes_are_called(tmp_path):
    names = ("正常", "肺炎", "a-b", "a b", "A_B", "../x", "x" * 300, "", "con")
    files = [page.name_file(label, name) for label, name in enumerate(names)]
    assert len({file.lower() for file in files}) == len(names)
    assert all(re.fullmatch(r"[0-9]+-[a-z0-9_]{1,40}", file) for file in files)
    text, _ = write(make_results(), tmp_path)
    sources = re.findall(r'<img src="([^"]+)" alt="\d+ real images of class (\S+) in', text)
    assert [name for _, name in sources] == list(NAMES)
    assert sources[0][0] != sources[1][0]
    cards = sorted((tmp_path / "generators" / "fold1_seed0").glob("*/card.md"))
    assert [name in card.read_text() for card, name in zip(cards, NAMES, strict=True)] == [True] * 2


@pytest.mark.parametrize(
    ("objective", "meaning"),
    [
        ("non_saturating", "(0.5: as likely real as not)"),
        ("hinge", "(hinge: above 0 means real)"),
        ("least_squares", "(least squares: 1 means real, 0 generated)"),
    ],
)
def test_a_card_calls_a_score_what_it_is(objective, meaning, tmp_path):
    gan = make_dcgan_settings(objective=objective, selection={"rule": "none"}).gan
    write(make_results(arms=("real", "gan"), gan=gan, images=make_noise(2)), tmp_path)
    card = next(tmp_path.glob("generators/*/*/card.md")).read_text()
    assert f"mean score of its images.** 0.5 {meaning}." in card


def test_the_lines_of_a_card_draw_images(tmp_path, monkeypatch):
    """From the variables beside it, as whoever gets them does."""
    results = make_results(arms=("real", "gan"))
    gan = results.settings.gan.create(results.settings.gan_epochs)
    variables = gan.get_networks(gan.create_state(jax.random.key(0))).generator
    packed = np.frombuffer(flax.serialization.to_bytes(variables), np.uint8)
    for place in results.generators:
        results.generators[place]["variables"] = packed
    write(results, tmp_path)
    card = next(tmp_path.glob("generators/fold2_*/*/card.md"))
    monkeypatch.chdir(card.parent)
    (code,) = re.findall("```python\n(.*?)```", card.read_text(), re.DOTALL)
    names = {}
    exec(code, names)
    assert names["images"].shape == (16, 32, 32, 1)
    assert json.loads(card.with_name("settings.json").read_text())["seed"] == 1  # of fold 2


@pytest.mark.parametrize("arm", ["gan_paper_text", "gan_paper_code", "gan_paper_counts"])
def test_an_arm_whose_rule_reads_a_probability_is_refused_where_there_is_none(arm):
    gan = make_dcgan_settings(objective="hinge", selection={"rule": "none"}).gan
    with pytest.raises(UserError, match=f"The arm '{arm}' needs.*hinge.*: leave that arm"):
        make_settings(arms=("real", arm), gan=gan)
    assert make_settings(arms=("real", "gan", "gan_calibrated"), gan=gan).gan == gan


def test_a_copied_test_image_is_suspicious_wherever_it_is_among_the_generated(tmp_path, capsys):
    results = make_results(arms=("real", "gan"))
    test = results.gan_folds.get_test(0).of_class(0)
    made = results.generators[0, 0, 0]
    many = np.concatenate([make_noise(210), test.images[:1]])  # beyond the shares'
    results.generators[0, 0, 0] = make_generated(many, code_images=test.images[1:3])
    text, summary = write(results, tmp_path)
    report = json.loads((tmp_path / "report.json").read_text())
    sentence = "3 generated image(s) are copies of test images"
    assert report["memory"]["copies_of_test_images"] == 3 and report["memory"]["suspicious"]
    assert sentence in report["warning"] and sentence in capsys.readouterr().out
    assert sentence in summary and sentence in text.partition("<h1")[0]
    assert "Test images are not nearer than chance" not in text
    results.generators[0, 0, 0] = made
    assert not analyse(results)["memory"]["suspicious"]


def test_nearness_alone_is_suspicious_too():
    data = make_dataset(num_train=40, num_val=20)
    noisy = data.val.images // 2 + data.val.images[::-1] // 2
    found = compute_nearness(data.val.images, data.train, data.val, seed=0)
    assert found.num_copies == 20
    near = summarise([dataclasses.replace(found, num_copies=0)])
    assert near["suspicious"] and "more than chance explains" in near["warning"]
    assert "copies of test images" not in near["warning"]
    assert (
        compute_nearness(noisy, data.train, data.train.take(np.arange(9)), seed=0).num_copies == 0
    )


def test_the_nearest_pair_is_sought_among_all_that_was_made():
    train = make_films()
    images = np.concatenate([make_noise(1100), train.images[:1]])
    nearness = compute_nearness(images, train, make_films(first=500), seed=0, num_pairs=1)
    assert nearness.pairs == [(1100, 0, pytest.approx(0, abs=1e-3))]
    made = make_generated(images[:2], code_images=images[5:6])
    np.testing.assert_array_equal(join_generated(made), images[[0, 1, 5]])


def make_leaky_splits():
    train, val = make_films(), make_films(8, first=100)
    images = train.images.copy()
    images[3] = np.minimum(val.images[1].astype(int) + 3, 255)
    return {"train": dataclasses.replace(train, images=images), "val": val}


@pytest.mark.parametrize("is_made", [True, False])
def test_a_leak_is_told_on_the_console_and_blames_no_one_for_a_split_of_jaxgan_s(
    tmp_path, capsys, is_made
):
    options = {"val_was_made": is_made, "arms": ("real",), "generators": ()}
    results = make_results(make_leaky_splits(), **options)
    text, summary = write(results, tmp_path)
    said = capsys.readouterr().out
    copied = "1 pair(s) of images that do not belong to one patient are copies of one another"
    given = "In train and val as given 1 val image(s) are copies of train images"
    for told in (said, html.unescape(text), summary):
        assert copied in told and "val:101.png" in told
        assert (given in told) != is_made
    assert said.index(copied) < said.index("No arm with generated images has a verdict.")


def test_only_a_split_that_jaxgan_made_itself_is_its_own(tmp_path):
    """The notice that says so comes from `load_dataset`."""
    for folder in ("one", "two/train", "two/val"):
        films = make_films(30)
        for image, label, file in zip(films.images, films.labels, films.files, strict=True):
            place = tmp_path / folder / f"class{label}"
            place.mkdir(parents=True, exist_ok=True)
            write_png(image, place / f"{folder[:3]}{file}")
    found = {}
    for folder in ("one", "two"):
        dataset = load_dataset(
            DataSpec(data_dir=tmp_path / folder),
            image_size=32,
            channels=1,
            cache_dir=tmp_path / "c",
        )
        found[folder] = set(find_given_splits(dataset))
    assert found == {"one": {"train"}, "two": {"train", "val"}}


def test_a_warning_comes_before_the_verdict_everywhere_and_once(tmp_path, capsys):
    films = make_films(40)
    images = np.random.default_rng(0).integers(0, 40, films.images.shape, dtype=np.uint8)
    images[films.labels == 1, :2] = 200  # the frame tells the class
    results = make_results({"train": dataclasses.replace(films, images=images)}, arms=("real",))
    text, summary = write(results, tmp_path)
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["warning"].startswith("Beware of a shortcut")
    assert report["sentence"] == f"{report['warning']} {report['verdict_sentence']}"
    said = capsys.readouterr().out
    for told in (html.unescape(text), summary, said):
        assert told.count(report["warning"]) == told.count(report["verdict_sentence"]) == 1
        assert told.index(report["warning"]) < told.index(report["verdict_sentence"])
    assert html.unescape(text).index(report["warning"]) < text.index("<h1")
    assert summary.startswith(f"**{report['warning']}**")


def test_a_failed_generator_costs_a_class_no_picture_while_another_is_there(tmp_path):
    results = make_results(generators=[(1, 0, 0), (0, 1, 0), (1, 1, 0)], arms=("real", "gan"))
    results.failures.append(Failure("generator", "generator of 肺炎, fold 1, seed 0", "no luck"))
    text, _ = write(results, tmp_path)
    assert "Class 正常: real above, generated (unchosen) below; fold 1, GAN seed 1." in text
    assert "GAN of class 正常, fold 1, seed 1: D loss ends at 0.50" in text
    assert text.count("Class 肺炎: all of its generators failed, so there is nothing to show.") == 2
    assert "generated images of class 正常 above their nearest training images" in text


@pytest.mark.parametrize("kind", ["generator", "audit"])
def test_a_failed_job_makes_the_study_incomplete_before_anything_else_is_said(
    kind, tmp_path, capsys
):
    results = make_results(arms=("real", "duplicates", "gan"))
    results.failures.append(Failure(kind, f"a {kind} of <正常>, fold 1, seed 0", "no luck."))
    text, summary = write(results, tmp_path)
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["verdict"] == "incomplete"
    assert report["verdict_of_complete_arms"] == "no_evidence"
    sentence = f"Incomplete: 1 job(s) failed or need one that failed. The first is a {kind} of "
    for told in (report["sentence"], summary.removeprefix("**"), report["warning"]):
        assert told.startswith(sentence)
    assert html.unescape(text).index(sentence) < text.index("<h1")
    assert '<h1 id="verdict">Incomplete: no verdict on all arms' in text
    assert 'data-verdict="incomplete">Of the arms that are complete: There is no' in text
    assert "<正常>" not in text and r"\<正常\>" in summary  # a class's name is a stranger's
    assert report["sentence"] in capsys.readouterr().out
    with pytest.raises(IncompleteError, match=re.escape(sentence)) as raised:
        check_complete(report["failures"])
    assert raised.value.exit_code == 4


def test_an_arm_whose_rule_kept_nothing_leaves_the_study_complete(tmp_path):
    results = make_results(arms=("real", "duplicates", "gan", "gan_paper_text"))
    del results.classifiers["gan_paper_text"][0, 1]
    name, reason = "gan_paper_text, fold 2, seed 0", "the rule kept no image of any class"
    results.failures.append(Failure("classifier", name, reason, by_rule=True))
    text, summary = write(results, tmp_path)
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["verdict"] == "no_evidence" and "ncomplete" not in report["sentence"]
    assert report["arms"]["gan_paper_text"]["state"] == "no images by its rule"
    assert "0 job(s) failed, 1 had no images by the rule of their arm, and 1 arm(s)" in text
    assert "| gan_paper_text | no images by its rule: 1 of 2 trainings |" in summary
    for told in (html.unescape(text), summary):
        assert f"This is no failure: {reason} ({name})" in told
    check_complete(report["failures"])
    results.failures.append(Failure("classifier", "gan_paper_text, fold 1, seed 0", "no luck"))
    assert analyse(results)["arms"]["gan_paper_text"]["state"] == "failed"


def test_one_source_has_nothing_to_be_told_from(tmp_path):
    results = make_results()
    num = len(results.folds.images)
    text, _ = write(dataclasses.replace(results, sources=("Hospital A",) * num), tmp_path / "one")
    assert "All images are of one source." in text
    text, _ = write(dataclasses.replace(results, sources=("A", "B") * (num // 2)), tmp_path / "two")
    assert re.search(r"the class is guessed with a balanced accuracy of [0-9.]+", text)


def test_arms_without_an_amount_are_told_against_the_usual_one():
    report = analyse(
        make_results(
            arms=("real", "classic", "duplicates", "gan"), amounts=(0.5, 1.0, 2.0), generators=()
        )
    )
    against = {
        row["arm"]: row["control"]
        for row in report["comparisons"]
        if row["control"].startswith("duplicates")
    }
    assert against == {
        "real": "duplicates",
        "classic": "duplicates",
        "gan@0.5": "duplicates@0.5",
        "gan": "duplicates",
        "gan@2": "duplicates@2",
    }
    few = analyse(make_results(arms=("real", "duplicates"), amounts=(0.5, 2.0), generators=()))
    assert next(row["control"] for row in few["comparisons"]) == "duplicates@0.5"


@pytest.mark.parametrize(
    ("num_unknown", "words"),
    [
        (24, "24 images (patients not known: each image counts as one)"),
        (0, "24 images of 12 patients"),
        (4, "24 images of 14 patients (4 images without a known patient count as one each)"),
    ],
)
def test_an_image_of_no_one_is_no_patient(tmp_path, num_unknown, words):
    patients = [f"p{i // 2}" for i in range(24)]
    patients[:num_unknown] = [f"{i}.png" for i in range(num_unknown)]
    films = make_films(patients=tuple(patients))
    films = dataclasses.replace(films, known=np.arange(24) >= num_unknown)
    for told in write(make_results({"train": films}, arms=("real",), generators=()), tmp_path):
        assert f"{words};" in told and "24 images of 24 patients" not in told


def test_the_summary_is_whole(tmp_path):
    results = make_results(num_seeds=2)
    _, summary = write(results, tmp_path)
    report = json.loads((tmp_path / "report.json").read_text())
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in summary.splitlines()]
    for comparison in report["comparisons"]:
        if comparison["control"] != "real":
            low, high = map(page._format_points, comparison["by_patient"]["interval"])
            value = f"{page._format_points(comparison['difference'])} [{low} to {high}]"
            start = [comparison["arm"], comparison["control"], value]
            assert start in [row[:3] for row in rows]
    (judged,) = report["judged"]
    smallest = page._format_points(judged["smallest_difference"])
    expected = ["gan", "real, duplicates", page._format_points(judged["difference"])]
    expected += [page._format_p(judged["p_helps"]), page._format_p(judged["p_hurts"]), smallest]
    assert expected in [row[:6] for row in rows]
    assert "Leaks: between folds none" in summary
    assert "generated copies of test images: 0" in summary
    widths = {len(row) for row in rows if row}
    table = [len(row) for row in rows]
    assert widths <= {2, 3, 4, 7} and max(table) == 7


# In print ------------------------------------------------------------------------------------

needs_browser = pytest.mark.skipif(shutil.which("chromium") is None, reason="needs chromium")
BROWSER = ("chromium", "--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run")


@pytest.fixture(scope="module")
def large_page(tmp_path_factory):
    """The page of a study of every arm and amount, with classes of long names."""
    results = make_results(
        names=("a-class-of-a-long-name", "another_class_whose_name_is_long"),
        arms=tuple(ARMS),
        amounts=(0.5, 1.0, 2.0),
        amount_arms=("duplicates", "gan", "classic+gan"),
    )
    return write(results, tmp_path_factory.mktemp("page"))[0]


def count_printed_pages(text, folder):
    (folder / "page.html").write_text(text)
    command = [*BROWSER, f"--user-data-dir={folder / 'profile'}", "--no-pdf-header-footer"]
    command += [f"--print-to-pdf={folder / 'page.pdf'}", str(folder / "page.html")]
    subprocess.run(command, capture_output=True, timeout=120, check=True)
    return len(re.findall(rb"/Type\s*/Page\b", (folder / "page.pdf").read_bytes()))


@needs_browser
def test_what_is_folded_up_is_printed(large_page, tmp_path):
    printed = count_printed_pages(large_page, tmp_path)
    opened = count_printed_pages(large_page.replace("<details>", "<details open>"), tmp_path)
    without = re.sub(r"(?s)<details>.*?</details>", "", large_page)
    assert printed == opened > count_printed_pages(without, tmp_path) + 1


@needs_browser
def test_no_table_is_wider_than_the_paper(large_page, tmp_path):
    """A4 at 96 dots an inch, with margins of 20 mm."""
    script = """<script>onload = () => {
      const page = document.querySelector("iframe").contentDocument, width = 642;
      const wide = [...page.querySelectorAll("table, figure, pre, .scroll")].filter((part) =>
        part.getBoundingClientRect().right > width || part.scrollWidth > part.clientWidth + 1);
      document.body.dataset.wide = wide.length + " of " + page.querySelectorAll("table").length;
    };</script>"""
    inside = html.escape(large_page.replace("@media print", "@media all"))
    inside = inside.replace("&lt;details&gt;", "&lt;details open&gt;")
    frame = f'<iframe width=642 height=3000 style="border:0" srcdoc="{inside}"></iframe>'
    probe = tmp_path / "probe.html"
    probe.write_text(f"<!doctype html><body>{frame}{script}</body>")
    command = [*BROWSER, f"--user-data-dir={tmp_path / 'profile'}", "--dump-dom", str(probe)]
    dom = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout
    found = re.search(r'data-wide="(\d+) of (\d+)"', dom)
    assert found is not None and found[1] == "0" and int(found[2]) > 10


# Many classes --------------------------------------------------------------------------------


def make_many(num_classes, folder, *, num_failures=0):
    """Write the page of a study of so many classes, which are told by chance."""
    rng = np.random.default_rng(0)
    num = 4 * num_classes
    labels = np.repeat(np.arange(num_classes, dtype=np.int32), 4)
    files = tuple(f"{i}.png" for i in range(num))
    images = ImageSet(rng.integers(0, 256, (num, 8, 8, 1), dtype=np.uint8), labels, files, files)
    names = tuple(f"class-{label:03d}" for label in range(num_classes))
    settings = make_settings(arms=("real", "gan"), audit=False)
    no_copies = Copies(np.zeros((0, 2), np.int64), np.zeros(0))
    dataset = Dataset("made", names, {"train": images}, "f" * 64)
    folds = Folds(images, (np.arange(num) % 2).astype(np.int32), np.arange(num), no_copies)
    results = StudyResults(settings, dataset, folds, folds, settings.create_arms())
    for arm in results.arms:
        for fold in range(2):
            size = len(folds.get_test(fold))
            results.classifiers.setdefault(arm.name, {})[0, fold] = {
                "probabilities": rng.random((size, num_classes), np.float32),
                "curve_step": np.arange(2),
                "curve_loss": np.ones(2),
                "curve_accuracy": np.ones(2),
            }
            results.added.setdefault(arm.name, {})[0, fold] = [3] * num_classes
    for label in range(num_classes):
        results.generators[0, 0, label] = make_generated(images.images[:4] // 2 + label % 100)
    failed = [Failure("generator", f"generator {i}", "no luck") for i in range(num_failures)]
    results.failures.extend(failed)
    text, summary = write(results, folder)
    return text, summary, json.loads((folder / "report.json").read_text())


def test_the_page_of_many_classes_is_as_large_as_that_of_some(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(audit, "run_probes", lambda *args, **options: audit.Audit(0.01, {}, {}, {}))
    some, _, _ = make_many(30, tmp_path / "some")
    capsys.readouterr()
    many, summary, report = make_many(90, tmp_path / "many", num_failures=90)
    assert len(many) < 1.2 * len(some) and len(summary) < 10_000
    figures = [len(list((tmp_path / n / "figures").iterdir())) for n in ("some", "many")]
    assert figures[0] == figures[1] < 50
    said = capsys.readouterr().out
    assert said.count("no luck") == page.MOST_LISTED + 1  # one of them first of all
    for told in (said, summary, html.unescape(many)):
        assert f"{90 - page.MOST_LISTED} more" in told
    assert "The 20 most frequent confusions of 90 classes" in many
    assert "270, 3 to 3 per class" in many and "270, 3 to 3 per class" in summary
    for words in (
        "Of 90 classes, the 12 with the lowest sensitivity are shown",
        "The first 12 of 90 classes",
        "The 12 of 90 classes with the nearest pairs",
    ):
        assert words in many
    found = report["arms"]["real"]["report"]
    assert found["confusion_matrix"] is None and len(found["confusions"]) == 50
    worst = page.choose_classes(report)
    rates = {name: found["per_class"][name]["sensitivity"]["value"] for name in found["per_class"]}
    assert max(rates[name] for name in worst) <= min(
        rate for name, rate in rates.items() if name not in worst
    )


def test_confusions_are_counted_as_in_the_matrix():
    report = analyse(make_results(arms=("real",), generators=()))["arms"]["real"]["report"]
    counts = np.array(report["confusion_matrix"])
    assert len(report["confusions"]) == 2
    for row in report["confusions"]:
        assert row["count"] == counts[NAMES.index(row["true"]), NAMES.index(row["told"])] > 0
