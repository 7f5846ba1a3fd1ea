"""The command that draws images from a run: how many, where to, and never two generators' mixed."""

import json

import numpy as np
import pytest
from PIL import Image

from jaxgan.core.errors import UserError
from jaxgan.experiments.sample import sample_run
from jaxgan.sampling.runs import draw_from_run
from tests.helpers import list_content, make_dcgan_settings, write_run


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Checkpoints of steps 2 (the best), 3 and 5."""
    measured = {2: 1.0, 3: 2.0, 5: 3.0}
    return write_run(tmp_path_factory.mktemp("dcgan"), measured=measured)


def list_seeds(out):
    return sorted(int(path.stem.removeprefix("seed_")) for path in out.glob("seed_*.png"))


def test_without_a_rule_any_number_of_images_is_drawn(run, tmp_path, monkeypatch, capsys):
    """`max_tries` is for a rule: it stopped the others too, and the sentence of it then failed."""
    monkeypatch.setattr("jaxgan.experiments.sample._PART", 16)
    monkeypatch.setattr("jaxgan.experiments.sample.SHEET_IMAGES", 12)
    sample_run(run, tmp_path / "out", num=41, seed=7, max_tries=8)
    assert list_seeds(tmp_path / "out") == list(range(7, 48))
    assert "Wrote 41 images and grid.png (of the first 12)" in capsys.readouterr().out
    expected = draw_from_run(run, num=41, seed=7)
    for seed, image in zip(range(7, 48), expected, strict=True):
        with Image.open(tmp_path / "out" / f"seed_{seed:07d}.png") as file:
            np.testing.assert_array_equal(np.asarray(file), image[..., 0])


@pytest.mark.parametrize("seed", [-1, 2**32 - 4, 2**63])
def test_seeds_that_no_image_is_made_from_have_their_sentence(run, tmp_path, seed):
    for draw in (draw_from_run, lambda run, **options: sample_run(run, tmp_path, **options)):
        with pytest.raises(UserError, match=f"from seed {seed} on were requested"):
            draw(run, num=5, seed=seed)
    assert len(draw_from_run(run, num=5, seed=2**32 - 5)) == 5


@pytest.mark.parametrize("threshold", [float("nan"), float("inf")])
def test_a_threshold_that_is_no_number_has_its_sentence(run, tmp_path, threshold):
    with pytest.raises(UserError, match=f"--threshold is {threshold}, expected a finite number"):
        sample_run(run, tmp_path / "out", num=2, threshold=threshold)
    assert not (tmp_path / "out").exists()


def test_images_of_two_generators_are_not_mixed(run, tmp_path):
    out = tmp_path / "out"
    sample_run(run, out, num=2)
    sample_run(run, out, num=2, seed=5)  # more of the same
    assert list_seeds(out) == [0, 1, 5, 6]
    other = write_run(tmp_path, "right", make_dcgan_settings(seed=1))
    before = list_content(out)
    for options in ({"checkpoint": "newest"}, {"threshold": 0.0}):
        with pytest.raises(UserError, match=r"holds images already \(grid.png, .*of step 2 of"):
            sample_run(run, out, num=2, **options)
    with pytest.raises(UserError, match="One folder holds the images of one generator"):
        sample_run(other, out, num=2)
    assert list_content(out) == before


def test_truncation_is_that_of_the_run_or_as_asked_and_is_noted(run, tmp_path, capsys):
    cut = write_run(
        tmp_path / "cut",
        settings=make_dcgan_settings(selection={"truncation": 0.5}),
        measured={2: 1.0, 3: 2.0, 5: 3.0},
    )
    usual, halved = (draw_from_run(folder, num=3) for folder in (run, cut))
    assert (usual != halved).any()
    for folder, truncation, expected, noted in (
        (cut, None, halved, 0.5),
        (run, 0.5, halved, 0.5),
        (cut, 1.0, usual, 1.0),
        (run, None, usual, 1.0),
    ):
        out = tmp_path / f"{folder.parent.name} {truncation}"
        sample_run(folder, out, num=3, truncation=truncation)
        files = sorted(out.glob("seed_*.png"))
        images = [np.asarray(Image.open(file)) for file in files]
        np.testing.assert_array_equal(np.stack(images), expected[..., 0])
        note = json.loads((out / "samples.json").read_text())
        assert note["truncation"] == noted
        with pytest.raises(UserError, match=r"holds images already|, with truncation 0\.5"):
            sample_run(folder, out, num=1, truncation=0.3)
    # The note of an earlier version says nothing, and its images were not cut.
    (out / "samples.json").write_text(json.dumps({n: v for n, v in note.items() if n[:2] != "tr"}))
    sample_run(run, out, num=1, seed=9)
    for wrong in (0.0, -1.0, 1.01, float("nan")):
        with pytest.raises(UserError, match=f"--truncation is {wrong}, expected a number above 0"):
            sample_run(run, tmp_path / "none", num=1, truncation=wrong)


@pytest.mark.parametrize("note", [None, "[]", "{", '{"generator": 1}'])
def test_a_folder_with_other_images_is_left_alone(run, tmp_path, note):
    (tmp_path / "film.JPG").write_bytes(b"mine")
    if note is not None:
        (tmp_path / "samples.json").write_text(note)
    before = list_content(tmp_path)
    with pytest.raises(UserError, match=r"holds images already \(film.JPG\)"):
        sample_run(run, tmp_path, num=1)
    assert list_content(tmp_path) == before
    (tmp_path / "film.JPG").unlink()
    sample_run(run, tmp_path, num=1)
    assert list_seeds(tmp_path) == [0]
