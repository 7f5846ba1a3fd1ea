"""What the files of `configs/` share."""

import pytest

from jaxgan.core.configs import choose_variant, load_beside


def test_a_variant_is_made_and_one_that_is_not_there_is_told_with_those_that_are():
    variants = {"a": lambda: 1, "b": lambda: 2}
    assert choose_variant("/somewhere/own.py", variants, "b") == 2
    with pytest.raises(ValueError, match=r"configs/own\.py has no variant 'c': .* one of a, b\."):
        choose_variant("/somewhere/own.py", variants, "c")


def test_a_file_beside_is_loaded_by_its_name(tmp_path):
    (tmp_path / "other.py").write_text("x = 3")
    assert load_beside(str(tmp_path / "own.py"), "other").x == 3
