import pytest
from hypothesis import given
from hypothesis import strategies as st

from jaxgan.core.untrusted import csv_cell, markdown_text, printable, printable_lines


@given(st.text(alphabet=st.characters()))
def test_what_is_shown_steers_no_terminal(text):
    shown = printable(text)
    assert shown.isprintable()
    assert text != shown or text.isprintable()


def test_control_characters_are_spelled_out():
    assert printable("a\x1b[2Jb\nc\u202ed\udcff") == r"a\x1b[2Jb\nc\u202ed\udcff"
    steering = "\n\r\t\x9b\u202a\u202e\u2066\u2069\u200b\u200f\ufeff\u2028"
    assert printable(steering).isascii()
    assert printable("Größe 95 %") == "Größe 95 %"
    assert printable_lines("one\r\n  two\x07") == "one\\r\n  two\\x07"


BLANKS = ["", " ", "\xa0", "\ufeff", "\u200b", "\u2060", "\u3000", "\x00", " \t\u202e"]


@pytest.mark.parametrize("blank", BLANKS)
@pytest.mark.parametrize("start", list("=+-@\uff1d\uff0b\uff0d\uff20"))
def test_no_cell_is_a_formula(start, blank):
    cell = f"{blank}{start}cmd|' /C calc'!A0"
    assert csv_cell(cell) == f"'{cell}"


@pytest.mark.parametrize("start", ["\t", "\r", "\n"])
def test_no_cell_begins_a_line(start):
    assert csv_cell(f"{start}1") == f"'{start}1"


def test_numbers_and_words_stay_what_they_are():
    for cell in (-1.5, "epoch_1.png", "", " ", "a=b", "'=1", "\uff23\uff2f-19"):
        assert csv_cell(cell) == cell


def test_markdown_is_shown_and_not_obeyed():
    assert markdown_text("<b>|[x](y)\n") == r"\<b\>\|\[x\](y)\\n"
    assert markdown_text("plain 1.5 %") == "plain 1.5 %"
