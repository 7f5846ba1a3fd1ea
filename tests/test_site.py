"""The documents as a site: every link leads somewhere, every name in the API pages is there."""

import importlib.util
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.mark.skipif(
    importlib.util.find_spec("zensical") is None,
    reason="needs zensical, which builds the site: pip install -e '.[docs]'",
)
def test_the_site_builds_without_a_warning(tmp_path):
    shutil.copytree(ROOT / "docs", tmp_path / "docs")
    shutil.copy(ROOT / "mkdocs.yml", tmp_path)
    (tmp_path / "jaxgan").symlink_to(ROOT / "jaxgan")
    build = [sys.executable, "-m", "zensical", "build", "--strict"]
    result = subprocess.run(
        build, cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False
    )
    said = result.stdout + result.stderr
    assert result.returncode == 0, said
    assert "No issues found" in said
    pages = list((tmp_path / "build" / "site").rglob("index.html"))
    assert len(pages) >= len(list((ROOT / "docs").glob("*.md")))
    api = (tmp_path / "build" / "site" / "api" / "index.html").read_text(encoding="utf-8")
    assert "load_gan_settings" in api
    assert "Return the settings of a GAN" in api  # its docstring
