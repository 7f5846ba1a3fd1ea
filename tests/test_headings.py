import pytest

from jaxgan.data import headings


@pytest.mark.parametrize(
    "heading",
    [
        *("PatientID", "Patient ID", "patient id", "patientid", "Patient_Id", "PATIENT-ID"),
        *(
            "Subject",
            "subject_id",
            "record_id",
            "Record ID",
            "MRN",
            "mrn",
            "ptid",
            "Participant ID",
        ),
    ],
)
def test_headings_of_the_field_tell_patients(heading):
    columns = ["Image Index", "Finding Labels", heading]
    assert headings.find_heading(columns, headings.PATIENTS) == heading
    assert headings.find_heading(columns, headings.FILES) == "Image Index"
    assert headings.find_heading(columns, headings.LABELS) == "Finding Labels"


def test_the_order_of_what_is_known_decides_not_that_of_the_columns():
    columns = ["subject_id", "PatientID", "patient_group"]
    assert headings.find_heading(columns, headings.PATIENTS) == "patient_group"
    assert headings.find_heading(columns[:2], headings.PATIENTS) == "PatientID"


def test_what_might_be_a_patient_is_told_from_what_is_none():
    columns = ["file", "Label", "Age", "Hospital", "split", "who", "View Position"]
    assert headings.list_unknown(columns) == ["who"]


@pytest.mark.parametrize(
    "cell",
    [
        *("", "nan", "NaN", "None", "null", "N/A", "n.a.", "NA", "#N/A", "<NA>", "-", "?", "--"),
        *("unknown", "Unknown patient", "ANONYMOUS", "Anonymized", "anon", "ANON-COVID", "XXX"),
        "Not available",
    ],
)
def test_nobody(cell):
    assert headings.names_nobody(cell)


@pytest.mark.parametrize(
    "cell", ["0", "P000", "ANON0017", "anna", "nancy", "x", "unknown 12", "17.0"]
)
def test_somebody(cell):
    assert not headings.names_nobody(cell)


def test_one_patient_has_one_spelling():
    spelled = {
        "a": "P 001",
        "b": "p001",
        "c": "P002",
        "d": "17",
        "e": "17.0",
        "f": "017",
        "g": "18",
    }
    joined, variants = headings.join_spellings(spelled)
    assert joined["a"] == joined["b"] == "P 001"
    assert joined["d"] == joined["e"] == joined["f"] == "017"
    assert len(set(joined.values())) == 4
    assert variants == [["P 001", "p001"], ["017", "17", "17.0"]]


def test_patients_of_one_spelling_keep_it():
    spelled = {"a": "hann:Ab", "b": "0.0", "c": "007", "d": "17.5", "e": "007"}
    assert headings.join_spellings(spelled) == (spelled, [])
