"""Tables beside the images, of whatever content."""

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from jaxgan.core.errors import UserError
from jaxgan.data.manifests import match_rows, parse_manifest

FILES = ("clear/a.png", "haze/b.png")
ENTRY = st.one_of(
    st.sampled_from(
        [*FILES, "../a.png", "/etc/passwd", "link/x", "clear/../../x", "a\0b", "~", ""]
    ),
    st.text(max_size=20),
)


@settings(max_examples=200, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.tuples(ENTRY, st.text(max_size=5)), max_size=6))
def test_no_row_of_a_manifest_leads_out(tmp_path_factory, rows):
    root = tmp_path_factory.getbasetemp() / "manifests"
    root.mkdir(exist_ok=True)
    if not (root / "link").is_symlink():
        (root / "link").symlink_to("/")
    table = [{"file": file, "patient": patient} for file, patient in rows]
    try:
        patients, _ = match_rows(root / "manifest.csv", table, "patient", FILES)
    except UserError:
        return
    for file in patients:
        assert Path(os.path.realpath(root / file)).is_relative_to(os.path.realpath(root))


@settings(max_examples=300)
@given(st.one_of(st.binary(max_size=200), st.text(alphabet='file,patn"\r\n\0=', max_size=60)))
def test_any_bytes_are_a_manifest_or_a_sentence(content):
    raw = content.encode() if isinstance(content, str) else content
    try:
        rows, columns = parse_manifest(b"file,patient\n" + raw, Path("manifest.csv"))
    except UserError as error:
        assert "manifest.csv" in str(error)
    else:
        assert columns == ["file", "patient"] and all(set(row) == set(columns) for row in rows)


def test_a_long_manifest_is_matched_without_a_look_at_the_disk(tmp_path, monkeypatch):
    monkeypatch.setattr(os.path, "realpath", lambda path: pytest.fail("a link was followed"))
    rows = [{"file": f"link/./{n}.png", "patient": "a"} for n in range(5)]
    patients, (notice,) = match_rows(tmp_path / "manifest.csv", rows, "patient", ["link/3.png"])
    assert patients == {"link/3.png": "a"} and "4 row(s)" in notice
