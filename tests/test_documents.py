"""What the documents say can be done, and can be read: every command runs, every page is plain."""

import re
import shlex
from pathlib import Path

import pyphen
import pytest

from jaxgan.data.images import write_png
from tests import forks
from tests.helpers import make_image_set, write_split_folder

ROOT = Path(__file__).resolve().parents[1]
PAGES = [
    *(ROOT / name for name in ("README.md", "SECURITY.md", "CONTRIBUTING.md", "CHANGELOG.md")),
    *sorted((ROOT / "docs").glob("*.md")),
]
# The ease of reading that Flesch (1948) calls plain English is 60 to 70.
PLAIN = 60.0
MOST_WORDS = {"README.md": 30}  # of a sentence
_SYLLABLES = pyphen.Pyphen(lang="en_US")

# What makes each command a matter of seconds; the rest of it is as printed.
_GAN = ("gan.image_size=32", "gan.generator_width=4", "gan.discriminator_width=4")
_CLASSIFIER = ("classifier.image_size=24", "classifier.width=8")
_MLP = ("gan.image_size=16", "gan.generator_width=8", "gan.discriminator_width=4")
SHORT = {
    "train_dcgan": ("num_epochs=1", "batch_size=8", "selection.max_tries=16", *_GAN),
    "train_gan": ("num_epochs=1", *_MLP),
    "train_gmd": ("num_epochs=1", *_CLASSIFIER),
    "train_classifier": ("num_epochs=1", *_CLASSIFIER),
    "study": (
        *("num_folds=2", "num_seeds=1", "num_updates=2", "gan_epochs=1", "gan_batch_size=4"),
        *("num_gan_seeds=1", *_GAN, *_CLASSIFIER),
    ),
}
# What is not run as printed, by words of the command, and why.
NOT_RUN = {
    "study.py:small+recommended": "it needs the packages of jaxgan[imagenet]",
    "classifier.py:recommended": "it needs the packages of jaxgan[imagenet]",
}
_LINE = re.compile(r"python launch/(\w+)\.py ?(.*)")


def list_commands(page):
    """Yield the launcher and the flags of every command that a page prints, in its order."""
    text = page.read_text(encoding="utf-8")
    blocks = "\n".join(re.findall(r"```sh\n(.*?)```", text, re.DOTALL))
    cells = "\n".join(re.findall(r"\| `(python launch/[^`]*)` \|", text))
    for line in f"{blocks}\n{cells}".splitlines():
        found = _LINE.search(line.partition("#")[0])
        if found:
            name, flags = found.groups()
            yield name, shlex.split(re.sub(r"\[.*?\]", "", flags))


COMMANDED = [page for page in PAGES if list(list_commands(page))]


def fill(flags, folder):
    """Put a class, a folder and one of new images in the places that a reader fills."""
    values = {"CLASS": "left", "DIR": str(folder), "NEW": str(folder.with_name("new"))}
    return [re.sub(r"\b(CLASS|DIR|NEW)\b", lambda found: values[found[0]], flag) for flag in flags]


def join(name, flags):
    return f"{name}.py {' '.join(flags)}"


def find_reason(name, flags):
    """Why a command is not run; None where it is."""
    return next((why for words, why in NOT_RUN.items() if words in join(name, flags)), None)


def test_what_is_not_run_is_printed_somewhere():
    printed = [join(*command) for page in COMMANDED for command in list_commands(page)]
    for words in NOT_RUN:
        assert any(words in command for command in printed), words


def test_the_commands_are_found():
    commands = [name for page in COMMANDED for name, _ in list_commands(page)]
    assert len(commands) >= 15
    assert {"study", "train_dcgan", "train_gmd", "sample", "evaluate"} <= set(commands)


@pytest.mark.parametrize("page", COMMANDED, ids=lambda page: page.name)
def test_every_command_is_one_that_its_launcher_takes(page, tmp_path):
    (tmp_path / "configs").symlink_to(ROOT / "configs")
    only_parse = (
        "import sys, absl.app\n"
        "absl.app.run = lambda main, flags_parser, **options: flags_parser(sys.argv)"
    )
    for name, flags in list_commands(page):
        result = forks.run(name, fill(flags, tmp_path), cwd=tmp_path, before=only_parse)
        assert result.returncode == 0, (name, flags, result.stderr)


@pytest.mark.slow
@pytest.mark.parametrize("page", COMMANDED, ids=lambda page: page.name)
def test_every_command_runs_as_printed(page, tmp_path):
    """In the order of the page and in one folder, shortened by the config where it is long."""
    (tmp_path / "configs").symlink_to(ROOT / "configs")
    write_split_folder(tmp_path / "data", num_train=48, num_val=40)
    (tmp_path / "new").mkdir()
    for i, image in enumerate(make_image_set(6, seed=9).images):
        write_png(image, tmp_path / "new" / f"{i}.png")
    at_home = f"import os; os.environ['HOME'] = {str(tmp_path)!r}"  # where the cache is
    for name, flags in list_commands(page):
        if find_reason(name, flags):
            continue
        changes = SHORT.get(name, ())
        if any("configs/classifier.py" in flag for flag in flags):  # its width is a share
            changes = [change for change in changes if "width" not in change]
        short = [f"--config.{change}" for change in changes]
        filled = [*fill(flags, tmp_path / "data"), *short]
        result = forks.run(name, filled, cwd=tmp_path, before=at_home)
        assert result.returncode == 0, (name, filled, result.stdout, result.stderr)


def read_prose(page):
    """Return the sentences of a page, without code, tables, pictures and headings."""
    text = re.sub(r"```.*?```|<!--.*?-->", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    text = re.sub(r"^(\||#|:::| {4}).*$|!\[.*?\]\(.*?\)", "", text, flags=re.MULTILINE)
    text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", text)
    text = re.sub(r"`[^`]*`", "code", text)
    sentences = []
    for paragraph in re.split(r"\n\s*\n|\n(?=\s*(?:-|\d+\.) )", text):
        plain = " ".join(re.sub(r"^\s*(?:-|\d+\.) ", "", paragraph.strip()).split())
        sentences += re.split(r"(?<=[.!?:])\s+", re.sub(r"[*_>]", "", plain))
    return [sentence for sentence in sentences if sentence]


def compute_reading_ease(sentences):
    """Return Flesch's reading ease: 100 is very easy, 30 very difficult.

    Syllables are counted by where a word can be hyphenated.
    """
    words = [word for s in sentences for word in re.findall(r"[A-Za-z][A-Za-z'-]*", s)]
    syllables = sum(len(_SYLLABLES.positions(word)) + 1 for word in words)
    return 206.835 - 1.015 * len(words) / len(sentences) - 84.6 * syllables / len(words)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_page_is_plain(page):
    sentences = read_prose(page)
    if sentences:  # the glossary is a table
        assert compute_reading_ease(sentences) >= PLAIN
    most = MOST_WORDS.get(page.name)
    if most is not None:
        long = [sentence for sentence in sentences if len(sentence.split()) > most]
        assert long == []


def test_difficult_prose_is_found():
    plain = ["The study compares ways to train one classifier.", "You can stop it at any time."]
    difficult = ["Notwithstanding considerable methodological heterogeneity, generalisability "
                 "characterises representational regularisation."]  # fmt: skip
    assert compute_reading_ease(plain) > PLAIN > compute_reading_ease(difficult)


def test_the_readme_is_short():
    assert len((ROOT / "README.md").read_text(encoding="utf-8").split()) <= 1500
