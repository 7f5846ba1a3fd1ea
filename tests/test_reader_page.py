"""The page of a reader study: what is in it, and what a browser makes of it."""

import base64
import hashlib
import html
import io
import json
import re
import shutil
import urllib.parse
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image
from scipy.stats import binomtest

from jaxgan.reports.reader_page import encode_key, format_reader_page
from tests.test_study_launch import open_in_browser

EVIL = "</script><script>alert(1)</script><b>&\"'\x1b[31m\u202e"
KINDS = np.array([True, False, False, True, True, False, True, False])
WORDS = ("real", "generated")


def make_page(class_name="pneumonia", kinds=KINDS, channels=1):
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (len(kinds), 16, 16, channels), np.uint8)
    return images, format_reader_page(images, kinds, class_name=class_name, seed=4)


class Page(HTMLParser):
    """The tags of a page, and the text of its scripts and style."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.inside, self.within = [], [], None
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        self.within = tag if tag in ("script", "style") else None
        if self.within:
            self.inside.append("")

    def handle_endtag(self, tag):
        self.within = None

    def handle_data(self, data):
        if self.within:
            self.inside[-1] += data


def read_study(text):
    """What the page knows: its data, and the key decoded as its script does."""
    (data,) = re.findall(r'<script type="application/json" id="study">(.*?)</script>', text)
    study = json.loads(data)
    pairs = np.frombuffer(base64.b64decode(study["key"]), np.uint8).reshape(-1, 2)
    return study, ((pairs[:, 0] ^ pairs[:, 1]) & 1).astype(bool)


@pytest.mark.parametrize("channels", [1, 3])
def test_the_page_holds_the_images_in_their_order_and_the_answers_in_its_key(channels):
    images, text = make_page(channels=channels)
    study, kinds = read_study(text)
    np.testing.assert_array_equal(kinds, KINDS)
    for image, uri in zip(images, study["images"], strict=True):
        with Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2]))) as picture:
            np.testing.assert_array_equal(np.asarray(picture).reshape(16, 16, channels), image)
            assert picture.info == {}  # no mark of the kind


def test_no_byte_of_the_key_tells_a_kind_by_itself():
    kinds = np.arange(4000) % 2 == 0
    raw = np.frombuffer(base64.b64decode(encode_key(kinds, seed=0)), np.uint8).reshape(-1, 2)
    for column in raw.T:
        assert abs(column[kinds].mean() - column[~kinds].mean()) < 12  # 5 standard errors
        assert abs((column[kinds] & 1).mean() - 0.5) < 0.06
    assert encode_key(kinds, seed=1) != encode_key(kinds, seed=0)


def test_the_policy_allows_what_is_in_the_page_and_nothing_else():
    _, text = make_page(EVIL)
    page = Page(text)
    assert [tag for tag, _ in page.tags].count("script") == 2
    (policy,) = [a["content"] for tag, a in page.tags if tag == "meta" and "http-equiv" in a]
    style, _, script = page.inside
    hashes = [
        base64.b64encode(hashlib.sha256(part.encode()).digest()).decode()
        for part in (style, script)
    ]
    assert policy == (
        f"default-src 'none'; img-src data:; style-src 'sha256-{hashes[0]}'; "
        f"script-src 'sha256-{hashes[1]}'; base-uri 'none'; form-action 'none'"
    )
    for _, attributes in page.tags:
        assert not any(name.startswith("on") or name == "style" for name in attributes)
        assert not attributes.get("src") and attributes.get("href", "#") in ("#", "data:,")
    assert not re.search(r"https?:|//\w|fetch|XMLHttp|import", script)


def test_a_class_s_name_is_only_text():
    _, text = make_page(EVIL)
    assert "alert(1)</script>" not in text and "\x1b" not in text and "\u202e" not in text
    study, _ = read_study(text)
    assert study["class"].startswith("</script><script>alert(1)</script><b>&")
    assert "\\x1b" in study["class"]


DRIVE = """
<script>onload = async () => {
  const page = document.querySelector("iframe").contentDocument;
  const get = (id) => page.getElementById(id);
  const wait = (ms) => new Promise((then) => setTimeout(then, ms));
  const seen = [];
  const press = (name) => new KeyboardEvent("keydown", {key: name, bubbles: true});
  const key = (name) => page.dispatchEvent(press(name));
  key("1");  // before the beginning: no answer
  get("reader").value = "R 1/x";
  get("begin").click();
  for (const [i, answer] of ANSWERS.entries()) {
    seen.push([get("progress").textContent, get("shown").src, page.body.innerText]);
    await wait(250);
    if (i % 2) get(answer).click();
    else key(answer === "real" ? "1" : "2");
    key("1");  // at once, as a double click: no answer
    if (i === 0) key("3");
  }
  const bad = page.createElement("script");
  bad.textContent = "document.body.dataset.ran = 'yes'";
  page.body.append(bad);
  const blocked = page.createElement("img");
  blocked.src = "http://localhost:9/x.png";
  page.body.append(blocked);
  document.body.dataset.probe = JSON.stringify({
    seen,
    ran: page.body.dataset.ran || "no",
    verdict: get("verdict").textContent,
    numbers: [...page.querySelectorAll("#numbers td")].map((cell) => cell.textContent),
    all: [...page.querySelectorAll("figure")].map((figure) => [figure.className, figure.innerText]),
    open: ["start", "test", "end"].filter((id) => !get(id).hidden),
    file: get("save").download,
    saved: get("save").href,
  });
};</script>"""


def click_through(folder, answers):
    """What the page shows to a person who gives these answers, and what the console says."""
    _, text = make_page(EVIL)
    frame = f'<iframe width=900 height=900 srcdoc="{html.escape(text)}"></iframe>'
    drive = DRIVE.replace("ANSWERS", json.dumps(answers))
    probe = folder / "probe.html"
    probe.write_text(f"<!doctype html><meta charset=utf-8><body>{frame}{drive}</body>")
    dom, console = open_in_browser(probe, "--virtual-time-budget=30000")
    found = re.search(r'data-probe="([^"]*)"', dom)
    assert found is not None, console
    return text, json.loads(html.unescape(found[1])), console


needs_chromium = pytest.mark.skipif(shutil.which("chromium") is None, reason="needs chromium")


@needs_chromium
def test_a_person_clicks_through_the_page(tmp_path):
    truth = [WORDS[int(kind)] for kind in KINDS]
    answers = ["generated"] * 7 + ["real"]  # right: four of four, and one of four
    text, seen, console = click_through(tmp_path, answers)
    study, _ = read_study(text)
    assert [progress for progress, _, _ in seen["seen"]] == [
        f"Image {i + 1} of 8" for i in range(8)
    ]
    assert [source for _, source, _ in seen["seen"]] == study["images"]
    for _, _, words in seen["seen"]:  # neither right nor wrong is said before the end
        assert not re.search(r"right|wrong|correct|accuracy", words)
    assert seen["open"] == ["end"]
    for cell, (right, count) in zip(seen["numbers"], ((5, 8), (4, 4), (1, 4)), strict=True):
        known = binomtest(right, count).proportion_ci(method="wilson")
        assert cell == (
            f"{100 * right / count:.1f} % [{100 * known.low:.1f}, {100 * known.high:.1f}], "
            f"{right} of {count}"
        )
    assert seen["verdict"].startswith("You could not tell generated from real images here")
    assert [kind for kind, _ in seen["all"]] == [
        "right" if a == t else "wrong" for a, t in zip(answers, truth, strict=True)
    ]
    assert " ".join(seen["all"][1][1].split()) == "2. is real; you said generated (wrong)"
    saved = json.loads(urllib.parse.unquote(seen["saved"].partition(",")[2]))
    assert saved["answers"] == answers and saved["truth"] == truth
    assert (saved["reader"], saved["study"]) == ("R 1/x", study["id"])
    assert seen["file"] == "answers_R_1_x.json"
    # Another script and another machine's image: blocked, and the page's own parts are not.
    assert seen["ran"] == "no"
    assert len(console) == 2 and all("Content Security Policy" in line for line in console)


@needs_chromium
@pytest.mark.parametrize(
    ("is_right", "verdict"),
    [(True, "You could tell generated from real"), (False, "You took real for generated images")],
)
def test_the_page_says_whether_a_person_could_tell(tmp_path, is_right, verdict):
    answers = [WORDS[int(kind == is_right)] for kind in KINDS]
    _, seen, _ = click_through(tmp_path, answers)
    assert seen["verdict"].startswith(verdict)
    assert {kind for kind, _ in seen["all"]} == {"right" if is_right else "wrong"}


@needs_chromium
def test_the_page_fits_a_small_screen(tmp_path):
    _, text = make_page()
    frame = f'<iframe width=360 height=900 style="border:0" srcdoc="{html.escape(text)}"></iframe>'
    probe = tmp_path / "probe.html"
    probe.write_text(
        f"<!doctype html><body>{frame}<script>onload = () => {{"
        'const page = document.querySelector("iframe").contentDocument;'
        'page.getElementById("begin").click(); const root = page.documentElement;'
        'const box = page.getElementById("shown").getBoundingClientRect();'
        "document.body.dataset.probe = JSON.stringify([root.scrollWidth - root.clientWidth,"
        "box.left, box.right, box.width, box.height]); };</script></body>"
    )
    dom, console = open_in_browser(probe)
    assert console == []
    found = re.search(r'data-probe="([^"]*)"', dom)
    overflow, left, right, width, height = json.loads(found[1])
    assert overflow <= 0 and 0 <= left < right <= 360
    assert width == pytest.approx(height) and width > 250
