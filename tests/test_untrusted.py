import pytest
from hypothesis import given
from hypothesis import strategies as st

from jaxgan.untrusted import csv_cell, markdown_text, printable, printable_lines


@given(st.text(alphabet=st.characters()))
def test_what_is_shown_steers_no_terminal(text):
    shown = printable(text)
    assert shown.isprintable()
    assert text != shown or text.isprintable()


def test_control_characters_are_spelled_out():
    assert printable("a\x1b[2Jb\nc\u202ed\udcff") == r"a\x1b[2Jb\nc\u202ed\udcff"
    assert printable("Größe 95 %") == "Größe 95 %"
    assert printable_lines("one\r\n  two\x07") == "one\\r\n  two\\x07"


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\r", "\n"])
def test_no_cell_is_a_formula(start):
    assert csv_cell(f"{start}cmd|' /C calc'!A0") == f"'{start}cmd|' /C calc'!A0"


def test_numbers_and_words_stay_what_they_are():
    assert (csv_cell(-1.5), csv_cell("epoch_1.png"), csv_cell("")) == (-1.5, "epoch_1.png", "")


def test_markdown_is_shown_and_not_obeyed():
    assert markdown_text("<b>|[x](y)\n") == r"\<b\>\|\[x\](y)\\n"
    assert markdown_text("plain 1.5 %") == "plain 1.5 %"
