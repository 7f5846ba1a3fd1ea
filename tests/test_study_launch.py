"""A whole study as a process: killed, resumed, one arm failing; and what its page holds."""

import html
import json
import re
import shutil
import subprocess
import time
from html.parser import HTMLParser

import pytest
from PIL import Image

from jaxgan.data.images import write_png
from tests.helpers import draw_films, make_environment, make_image_set
from tests.test_launch import CONFIG, make_command

pytestmark = pytest.mark.slow  # one study of every arm: minutes

TINY = (
    f"--config={CONFIG / 'study.py:quick'}",
    "--config.num_folds=2",
    "--config.num_seeds=1",
    "--config.num_updates=8",
    "--config.holdout=0.3",
    "--config.pool=1.0",
    "--config.gan.generator_width=4",
    "--config.gan.discriminator_width=4",
    "--config.gan_batch_size=4",
    "--config.gan_epochs=2",
    "--config.threshold=1.0",  # D is never that sure: the arm has no images
    "--config.classifier.width=8",
    "--config.batch_size=8",
)
SECTIONS = (
    "differences", "arms", "images", "curves", "confusion", "audit", "guards", "settings", "limits",
)  # fmt: skip
CLASSES = ("left", "right")
PICTURES = (
    *(
        rf"8 real images of class {name} in the first row, generated ones below\."
        for name in CLASSES
    ),
    *(rf"8 generated images of class {name} above their nearest training" for name in CLASSES),
    *(rf"Loss curves\. GAN of class {name}, fold 1, seed 0: D loss ends at" for name in CLASSES),
    r"Mean training loss of each arm's classifiers.* At the end: real ",
    r"Mean training accuracy of each arm's classifiers.* At the end: real ",
    r"How often a classifier is right.* Mean distance from the diagonal: real ",
)
ARMS = ("real", "classic", "duplicates", "gan", "gan_paper_text", "classic+gan")


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    path = tmp_path_factory.mktemp("study")
    images = make_image_set(48)
    for i, (image, label) in enumerate(zip(images.images, images.labels, strict=True)):
        folder = path / "data" / CLASSES[label]
        folder.mkdir(parents=True, exist_ok=True)
        write_png(image, folder / f"patient{i // 4}_{i}.png")
    return path


def make_study_command(place, *flags, arms=ARMS):
    return make_command(
        "study",
        place,
        *TINY,
        f"--config.arms={arms}",
        f"--data_dir={place / 'data'}",
        "--patient_pattern=patient[0-9]+",
        f"--workdir={place / 'study'}",
        *flags,
    )


def run(place, *flags, **options):
    return subprocess.run(
        make_study_command(place, *flags, **options),
        capture_output=True,
        text=True,
        env=make_environment(),
        timeout=900,
        check=False,
    )


def list_jobs(place):
    return {p.name: p.stat().st_mtime_ns for p in (place / "study" / "jobs").glob("*.npz")}


@pytest.fixture(scope="module")
def study(place):
    """A study that was killed after three jobs and started again."""
    with (place / "output.txt").open("w") as output:
        process = subprocess.Popen(
            make_study_command(place), stdout=output, stderr=output, env=make_environment()
        )
        deadline = time.monotonic() + 600
        while len(list_jobs(place)) < 3:
            assert process.poll() is None, (place / "output.txt").read_text()
            assert time.monotonic() < deadline
            time.sleep(0.02)
        process.kill()
        process.wait()
    before = list_jobs(place)
    result = run(place)
    assert result.returncode == 0, result.stderr
    return before, result


def test_a_killed_study_goes_on(place, study):
    before, _ = study
    after = list_jobs(place)
    assert 3 <= len(before) < len(after)
    assert {name: after[name] for name in before} == before  # nothing was done twice
    assert not list((place / "study" / "jobs").glob("*.part*"))


def test_the_report_has_a_verdict_and_every_arm(place, study):
    report = json.loads((place / "study" / "report.json").read_text())
    assert report["verdict"] in ("helps", "no_evidence", "hurts")
    assert report["sentence"] in study[1].stdout
    assert set(report["arms"]) == {
        "real", "classic", "duplicates", "gan", "gan_paper_text", "classic+gan",
    }  # fmt: skip
    for name, arm in report["arms"].items():
        if name != "gan_paper_text":
            low, high = arm["report"]["balanced_accuracy"]["interval"]
            assert 0 <= low <= arm["report"]["balanced_accuracy"]["value"] <= high <= 1
    assert report["data"]["patients"] == 12
    assert report["memory"]["copies_of_test_images"] == 0


def test_an_arm_that_can_not_run_is_named_everywhere(place, study):
    report = json.loads((place / "study" / "report.json").read_text())
    assert report["arms"]["gan_paper_text"]["report"] is None
    assert {f["reason"] for f in report["failures"]} == {"the rule kept no image of any class"}
    assert [a["arm"] for a in report["not_judged"]] == ["gan_paper_text"]
    assert report["verdict"] != "incomplete"  # its rule kept nothing, nothing has failed
    for file in ("report.html", "summary.md"):
        assert "gan_paper_text, fold 1, seed 0" in (place / "study" / file).read_text()


class Page(HTMLParser):
    """What a reader without eyes or network gets."""

    def __init__(self):
        super().__init__()
        self.tags, self.ids, self.links = [], set(), []

    def handle_starttag(self, tag, attrs):
        attributes = dict(attrs)
        self.tags.append((tag, attributes))
        self.ids.add(attributes.get("id"))
        if tag == "a":
            self.links.append(attributes["href"])


def test_the_page_is_whole_and_needs_no_network(place, study):
    text = (place / "study" / "report.html").read_text()
    page = Page()
    page.feed(text)
    tags = [tag for tag, _ in page.tags]
    assert {"header", "nav", "main", "footer"} <= set(tags)
    assert tags.count("table") == tags.count("caption")
    images = [attributes for tag, attributes in page.tags if tag == "img"]
    assert all(i["src"].startswith("data:image/png;base64,") for i in images)
    assert len(images) == len(PICTURES) == len({i["src"] for i in images})
    for words in PICTURES:
        assert sum(bool(re.match(words, i["alt"])) for i in images) == 1, words
    sections = [attributes for tag, attributes in page.tags if tag == "section"]
    assert [attributes["aria-labelledby"] for attributes in sections] == [*SECTIONS]
    assert page.links and all(link[1:] in page.ids for link in page.links)
    svgs = [attributes for tag, attributes in page.tags if tag == "svg"]
    assert svgs and all(a["role"] == "img" and a["aria-label"] for a in svgs)
    assert not re.search(r"(src|href)=\"https?:|url\(", text)


def test_each_generator_has_a_card(place, study):
    cards = list((place / "study" / "generators").rglob("card.md"))
    assert len(cards) == 4
    assert "training images of class" in cards[0].read_text()
    assert (cards[0].parent / "generator.msgpack").stat().st_size > 1000


def test_a_second_seed_does_nothing_again(place, study):
    before = list_jobs(place)
    result = run(place, "--config.num_seeds=2")
    assert result.returncode == 0, result.stderr
    after = list_jobs(place)
    assert {name: after[name] for name in before} == before
    assert len(after) == len(before) + 10  # five arms, two folds
    run(place)  # for tests that follow: the page of one seed


def test_a_user_s_mistake_is_one_line(place, tmp_path):
    result = run(place, arms=("gan",))
    assert result.returncode == 2
    assert "expected 'real' in the list" in result.stderr and "Traceback" not in result.stderr
    folder = tmp_path / "data"
    shutil.copytree(place / "data", folder)
    write_png(make_image_set(1).images[0], folder / "left" / "patient0_x.png", generated=True)
    result = run(place, f"--data_dir={folder}")
    assert result.returncode == 2
    assert "generated by jaxgan" in result.stderr


def test_gans_that_fail_are_no_verdict_but_an_exit_code(place, tmp_path):
    flags = ("--config.gan.learning_rate=1e30", "--config.audit=False")
    result = run(place, *flags, f"--workdir={tmp_path / 'study'}", arms=("real", "gan"))
    assert result.returncode == 4
    assert result.stderr.startswith("Error: Incomplete: 10 job(s) failed or need one that failed.")
    report = json.loads((tmp_path / "study" / "report.json").read_text())
    assert report["verdict"] == "incomplete" and report["arms"]["real"]["state"] == "complete"


PROBE = """
<script>onload = () => {
  const page = document.querySelector("iframe").contentDocument, root = page.documentElement;
  document.body.dataset.probe = JSON.stringify({
    overflow: root.scrollWidth - root.clientWidth,
    width: page.defaultView.innerWidth,
    broken: [...page.images].filter((image) => !image.naturalWidth).length,
    images: page.images.length,
    empty: [...page.querySelectorAll("section")].filter((s) => s.offsetHeight < 20).length,
    sections: [...page.querySelectorAll("section > h2")].map((heading) => heading.id),
  });
};</script>"""


def open_in_browser(page, *flags):
    """What a browser makes of a file: its DOM, and what it has to say on its console."""
    command = ["chromium", "--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run"]
    command += ["--disable-background-networking", "--disable-component-update", "--disable-sync"]
    command += [f"--user-data-dir={page.parent / 'profile'}", "--enable-logging=stderr"]
    result = subprocess.run(
        [*command, "--dump-dom", *flags, str(page)],
        capture_output=True, text=True, timeout=120, check=True,
    )  # fmt: skip
    return result.stdout, [line for line in result.stderr.splitlines() if "CONSOLE" in line]


@pytest.mark.skipif(shutil.which("chromium") is None, reason="needs chromium")
@pytest.mark.parametrize("width", [360, 1100])
def test_a_browser_shows_all_of_it_without_an_error(place, study, tmp_path, width):
    text = (place / "study" / "report.html").read_text()
    frame = f'<iframe width={width} height=3000 style="border:0" srcdoc="{html.escape(text)}">'
    probe = tmp_path / "probe.html"
    probe.write_text(f"<!doctype html><body>{frame}</iframe>{PROBE}</body>")
    dom, console = open_in_browser(probe, "--window-size=1300,900")
    found = re.search(r'data-probe="([^"]*)"', dom)
    assert found is not None and console == []
    seen = json.loads(html.unescape(found[1]))
    assert seen["width"] == width and seen["overflow"] <= 0
    assert seen["broken"] == 0 and seen["images"] == len(PICTURES)
    assert seen["empty"] == 0 and seen["sections"] == [*SECTIONS]
    dom, console = open_in_browser(place / "study" / "report.html")  # from its file, as it is
    assert console == [] and re.findall(r'<h2 id="(\w+)"', dom) == [*SECTIONS]


def test_a_copied_test_image_is_told_on_the_console(place, tmp_path):
    """A film of val, compressed anew under another name in train: by hand, as a user would."""
    data = tmp_path / "data"
    for split, first, num in (("train", 0, 12), ("val", 100, 4)):
        for finding in ("normal", "pneumonia"):
            (data / split / finding).mkdir(parents=True)
            for i, film in enumerate(draw_films(finding, num, first)):
                write_png(film, data / split / finding / f"{first + i}.png")
    with Image.open(data / "val" / "normal" / "102.png") as film:
        film.save(data / "train" / "normal" / "another.jpg", quality=85)
    flags = (f"--data_dir={data}", f"--workdir={tmp_path / 'study'}", "--config.audit=False")
    result = run(place, *flags, "--patient_pattern=.+", arms=("real",))
    assert result.returncode == 0, result.stderr
    sentence = (
        "In train and val as given 1 val image(s) are copies of train images (such as "
        "val/normal/102.png of train/normal/another.jpg), exact, re-encoded, mirrored or framed"
    )
    assert 0 <= result.stdout.find(sentence) < result.stdout.index("A study of")  # before hours
