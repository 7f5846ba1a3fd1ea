"""Read the answers of a reader study: how good each reader was, and how often readers agree."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from jaxgan.core.console import say
from jaxgan.core.errors import UserError
from jaxgan.core.files import read_object
from jaxgan.core.untrusted import printable
from jaxgan.metrics.readers import (
    CHANCE,
    compute_agreement,
    compute_kappa,
    compute_mean_report,
    compute_reader_report,
    find_least_shown,
)
from jaxgan.reports.blind import WORDS
from jaxgan.reports.html import format_measure
from jaxgan.reports.reader_page import FORMAT, KIND

_MOST_BYTES = 2**20
_MOST_LETTERS = 40  # of a reader's code, as on the page
_MOST_ANSWERS = 10_000


@dataclass(frozen=True)
class Answers:
    """A reader's answers and the truth, bool [num_images], True for generated."""

    reader: str
    study: str
    answers: np.ndarray
    truth: np.ndarray


def report_readers(files: Sequence[Path]) -> dict[str, Any]:
    """Print how well readers told real from generated images; return the numbers as JSON.

    Raises `UserError` for a file that holds no answers, and for files of different pages.
    """
    readers = _name_apart([read_answers(file) for file in files], files)
    _check_one_study(readers, files)
    truth, answers = readers[0].truth, np.stack([reader.answers for reader in readers])
    reports = {r.reader: compute_reader_report(truth, r.answers) for r in readers}
    result: dict[str, Any] = {"readers": reports, "mean": None}
    for name, report in reports.items():
        say(describe_reader(name, report))
    if len(readers) > 1:
        result["mean"] = compute_mean_report(truth, answers)
        result["agreement"] = compute_agreement(answers)
        result["kappa"] = compute_kappa(answers)
        for sentence in describe_readers(result):
            say(sentence)
    say(_describe_limit(len(truth)))
    return result


def read_answers(file: Path) -> Answers:
    """Return the answers in a file that the page has saved; raise `UserError` if it holds none."""
    value = _read(file)
    if value is None or value.get("kind") != KIND:
        raise UserError(
            f"{printable(str(file))} holds no answers of a reader study: expected the JSON file "
            "that the page saves at its end."
        )
    if value.get("format") != FORMAT:
        raise UserError(
            f"{printable(str(file))} has format {str(value.get('format'))[:20]!r}, expected "
            f"{FORMAT}: use the version of jaxgan that has made its page."
        )
    answers, truth = (_read_words(value.get(name)) for name in ("answers", "truth"))
    reader, study = value.get("reader"), value.get("study")
    is_named = isinstance(reader, str) and isinstance(study, str)
    if answers is None or truth is None or not is_named or not _is_whole(answers, truth):
        raise UserError(
            f"{printable(str(file))} is damaged or was edited: expected one answer, "
            f"{' or '.join(WORDS)}, to each image, and images of both kinds. Save it again."
        )
    name = printable(str(reader)[:_MOST_LETTERS]).strip()
    return Answers(name, str(study), answers, truth)


def _is_whole(answers: np.ndarray, truth: np.ndarray) -> bool:
    """Whether there is one answer to each image, and images of both kinds."""
    return len(answers) == len(truth) and 0 < truth.sum() < len(truth)


def _read(file: Path) -> dict[str, Any] | None:
    """Return the object in a file; None for a large file, and for what is no file."""
    if not file.exists():
        raise UserError(f"There is no file {printable(str(file))}: expected answers of a reader.")
    if not file.is_file() or file.stat().st_size > _MOST_BYTES:
        return None
    return read_object(file)


def _read_words(value: object) -> np.ndarray | None:
    """Return bool [num], True for generated; None for anything but a list of the two words."""
    if not isinstance(value, list) or not 0 < len(value) <= _MOST_ANSWERS:
        return None
    if any(not isinstance(word, str) or word not in WORDS for word in value):
        return None
    return np.array([word == WORDS[1] for word in value])


def _name_apart(readers: Sequence[Answers], files: Sequence[Path]) -> list[Answers]:
    """Return readers with different names: a code where it is given and the only one, or a file."""
    counts = Counter(reader.reader for reader in readers)
    named = []
    for reader, file in zip(readers, files, strict=True):
        is_known = reader.reader and counts[reader.reader] == 1
        name = reader.reader if is_known else printable(str(file))
        named.append(Answers(name, reader.study, reader.answers, reader.truth))
    return named


def _check_one_study(readers: Sequence[Answers], files: Sequence[Path]) -> None:
    """Raise if a file is given twice, or if files are of different pages."""
    if len({file.resolve() for file in files}) < len(files):
        raise UserError("Found one file of answers twice: give the file of each reader once.")
    first = readers[0]
    for reader, file in zip(readers[1:], files[1:], strict=True):
        if reader.study != first.study or not np.array_equal(reader.truth, first.truth):
            raise UserError(
                f"{printable(str(files[0]))} and {printable(str(file))} are answers to different "
                "pages: give those of one page."
            )


def describe_reader(name: str, report: Mapping[str, Any]) -> str:
    """Return in sentences how well a reader told the images apart."""
    accuracy = report["accuracy"]
    rates = [format_measure(report[f"sensitivity_{word}"]) for word in reversed(WORDS)]
    return (
        f"{name} {judge(accuracy['interval'])}: {accuracy['right']} of {accuracy['count']} right, "
        f"{format_measure(accuracy)}. Of the generated images {rates[0]} were called generated, of "
        f"the real ones {rates[1]} were called real."
    )


def judge(interval: Sequence[float]) -> str:
    """Return what an accuracy's interval says, as a predicate."""
    low, high = interval
    if low > CHANCE:
        return "could tell generated from real images"
    if high < CHANCE:
        return "saw a difference, but named it the wrong way round"
    return "could not tell generated from real images (the interval holds 50 %)"


def describe_readers(result: Mapping[str, Any]) -> Iterator[str]:
    """Yield sentences about several readers together."""
    mean = result["mean"]
    num, accuracy = mean["readers"], mean["accuracy"]
    yield (
        f"These {num} readers together {judge(accuracy['interval'])}: mean accuracy "
        f"{format_measure(accuracy)}, from {mean['lowest']:.1%} to {mean['highest']:.1%}. The "
        "interval is for these readers and other images."
    )
    kind = "Cohen's kappa" if num == 2 else "Fleiss' kappa"
    agreed = f"Readers agree in {result['agreement']:.1%} of pairs of answers"
    if result["kappa"] is None:
        yield f"{agreed}. {kind} has no value: all gave one answer to every image."
    else:
        yield f"{agreed}: {kind} {result['kappa']:.2f} (0: as often as by chance, 1: always)."


def _describe_limit(count: int) -> str:
    least = find_least_shown(count)
    if least is None:
        return f"With {count} images no accuracy could differ from chance: show more images."
    return (
        f"Intervals: 95 %, Wilson. With {count} images, {least} right answers "
        f"({least / count:.0%}) are the fewest that are better than chance. Where "
        "readers could not tell, that is no proof that the images look alike."
    )
