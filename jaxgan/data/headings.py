"""The meaning of headings and cells in users' tables: files, patients, labels, no patient.

Headings are compared in lower case, without spaces and signs: "Patient ID" is "patient_id".
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import TypeVar

Item = TypeVar("Item")

FILES = (
    "file",
    "filename",
    "filepath",
    "path",
    "image",
    "imageindex",  # NIH ChestX-ray14
    "imagefile",
    "imagefilename",
    "imagename",
    "imagepath",
    "imageid",
    "img",
    "imgname",
    "imgpath",
    "imgid",
    "idcode",  # APTOS 2019
    "id",
)
PATIENTS = (
    "patientgroup",
    "patientid",
    "patient",
    "subject",
    "subjectid",
    "patientno",
    "patientnr",
    "patientnumber",
    "patientkey",
    "patientcode",
    "dicompatientid",
    "ptid",
    "pid",
    "mrn",
    "medicalrecordnumber",
    "recordid",  # REDCap
    "participantid",
    "participant",
    "subjectno",
    "subjectnumber",
    "subjectkey",
    "usubjid",  # CDISC
    "personid",
    "person",
)
LABELS = (
    "label",
    "labels",
    "class",
    "classname",
    "classlabel",
    "category",
    "diagnosis",
    "finding",
    "findings",
    "findinglabels",
    "target",
    "dx",
)
SPLITS = ("split", "subset", "partition")
SOURCES = ("source", "hospital", "site", "collection", "institution")
# Columns that never name a patient: a table with only these needs no notice.
_OTHERS = (
    *("age", "patientage", "sex", "gender", "patientsex", "patientgender", "view", "viewposition"),
    *(
        "modality",
        "date",
        "studydate",
        "url",
        "doi",
        "license",
        "licence",
        "notes",
        "clinicalnotes",
    ),
    *("width", "height", "size", "format", "sha256", "md5", "folder", "survival", "location"),
)
_NOBODY = re.compile(
    r"|nan|na|nat|none|null|nil|unk|undefined|missing|notavailable|notapplicable|notknown|blank"
    r"|empty|removed|redacted|nobody|dummy|xx+"
    r"|(?:anon|unknown|deident|pseudonym)\D*"  # but ANON0017 is somebody
)
_FLOAT = re.compile(r"(\d+)\.0+")  # an integer that a spreadsheet saved as a decimal


def simplify(text: str) -> str:
    """Return a heading or a word for comparison: lower case, only letters and digits."""
    return "".join(c for c in text.casefold() if c.isalnum())


def find_heading(columns: Sequence[str], known: Sequence[str]) -> str | None:
    """Return the column with the heading that is first in `known`; None if there is none."""
    by_word: dict[str, str] = {}
    for column in columns:
        by_word.setdefault(simplify(column), column)
    return next((by_word[word] for word in known if word in by_word), None)


def list_unknown(columns: Iterable[str]) -> list[str]:
    """Return the columns with other headings, which might name a patient."""
    known = {*FILES, *LABELS, *SPLITS, *SOURCES, *_OTHERS}
    return [column for column in columns if simplify(column) not in known]


def names_nobody(text: str) -> bool:
    """Whether a patient's cell or identifier says that the patient is unknown: nan, unknown, -."""
    return _NOBODY.fullmatch(simplify(text)) is not None


def join_spellings(
    patients: Mapping[Item, str],
) -> tuple[dict[Item, str], list[list[str]]]:
    """Return the patient of each item, with one spelling per patient, and the joined spellings.

    Spellings that differ in case, spaces, leading zeros or a spreadsheet's ".0" are one patient:
    too many images in one patient are safer than too few. A patient with one spelling keeps it.
    """
    spellings: dict[str, set[str]] = {}
    for name in patients.values():
        spellings.setdefault(_get_core(name), set()).add(name)
    joined = {item: min(spellings[_get_core(name)]) for item, name in patients.items()}
    return joined, [sorted(names) for names in spellings.values() if len(names) > 1]


def _get_core(name: str) -> str:
    core = "".join(name.casefold().split())
    number = _FLOAT.fullmatch(core)
    core = number[1] if number else core
    return core.lstrip("0") or "0" if core.isdigit() else core
