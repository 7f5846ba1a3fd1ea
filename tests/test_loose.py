import os

import numpy as np
import pytest
from PIL import Image

from jaxgan.data.loose import read_folders
from jaxgan.errors import UserError
from tests.fuzz.seeds import make_film

RNG = np.random.default_rng(0)


def write(path, size=32, channels=1):
    path.parent.mkdir(parents=True, exist_ok=True)
    shape = (size, size) if channels == 1 else (size, size, 3)
    Image.fromarray(RNG.integers(0, 256, shape, dtype=np.uint8)).save(path)


def test_two_folders_come_at_one_size_and_gray(tmp_path):
    write(tmp_path / "a" / "1.png", 64)
    write(tmp_path / "b" / "x" / "2.png", 40)
    write(tmp_path / "b" / "y" / "deep" / "3.png", 48)
    one, two = read_folders([tmp_path / "a", tmp_path / "b"])
    assert one.images.shape == (1, 40, 40, 1)
    assert two.images.shape == (2, 40, 40, 1)
    assert two.files == ("x/2.png", "y/deep/3.png")
    assert (one.folders, two.folders) == (("",), ("x", "y"))
    (sized,) = read_folders([tmp_path / "a"], image_size=16)
    assert sized.images.shape == (1, 16, 16, 1)


def test_the_odd_small_image_is_left_out_by_name_and_many_decide_which_is_said(tmp_path):
    for i in range(18):
        write(tmp_path / "a" / f"{i}.png", 64)
    write(tmp_path / "a" / "thumb.png", 20)
    for i in range(3):
        write(tmp_path / "b" / f"{i}.png", 40)
    one, two = read_folders([tmp_path / "a", tmp_path / "b"])
    assert (len(one), one.images.shape[1], one.files) == (18, 40, (*sorted(one.files),))
    assert "thumb.png" not in one.files
    (notice,) = one.notices
    assert "1 of 19 images are left out" in notice and "(thumb.png has 20; usually 64" in notice
    assert two.notices == ()
    (whole,) = read_folders([tmp_path / "a"], image_size=32)
    assert len(whole) == 19
    assert "1 of 19 images are enlarged to 32 pixels (thumb.png has 20)" in whole.notices[0]
    for i in range(2, 9):
        write(tmp_path / "a" / f"thumb{i}.png", 24)
    (many,) = read_folders([tmp_path / "a"])
    assert (len(many), many.images.shape[1]) == (26, 20)
    assert "1 of 26 images have 20 pixels or fewer" in many.notices[0]


def test_one_coloured_image_makes_all_coloured(tmp_path):
    write(tmp_path / "1.png")
    write(tmp_path / "2.png", channels=3)
    assert read_folders([tmp_path])[0].images.shape == (2, 32, 32, 3)


def test_large_images_are_made_smaller_and_sheets_left_out(tmp_path):
    write(tmp_path / "1.png", 200)
    write(tmp_path / "grid.png", 64)
    write(tmp_path / ".hidden" / "2.png", 64)
    (images,) = read_folders([tmp_path])
    assert images.images.shape == (1, 128, 128, 1)


def test_folders_that_are_none_of_images_are_refused(tmp_path):
    (tmp_path / "empty").mkdir()
    write(tmp_path / "run" / "1.png")
    (tmp_path / "run" / "config.json").write_text("{}")
    write(tmp_path / "data" / "train" / "x" / "1.png")
    for name, words in (
        ("none", "does not exist"),
        ("empty", "no images"),
        ("run", "folder of a run"),
        ("data", "holds splits"),
    ):
        with pytest.raises(UserError, match=words):
            read_folders([tmp_path / name])


def test_links_out_and_pipes_are_named_and_not_read(tmp_path):
    """Whoever made the folder could otherwise have any image of this disk drawn into a page."""
    write(tmp_path / "private" / "1.png")
    write(tmp_path / "shared" / "x" / "1.png")
    (tmp_path / "shared" / "inside.png").symlink_to("x/1.png")
    assert len(read_folders([tmp_path / "shared"])[0]) == 2
    (tmp_path / "shared" / "out.png").symlink_to(tmp_path / "private" / "1.png")
    (tmp_path / "shared" / "loop.png").symlink_to("loop.png")
    os.mkfifo(tmp_path / "shared" / "pipe.png")
    with pytest.raises(UserError) as caught:
        read_folders([tmp_path / "shared"])
    heading, *lines, _ = str(caught.value).splitlines()
    assert heading == "3 images of 5 cannot be used:"
    for line, name, reason in zip(
        lines,
        ("loop.png", "out.png", "pipe.png"),
        ("leads nowhere", "leads out", "not an ordinary file"),
        strict=True,
    ):
        assert name in line and reason in line


def test_dicom_is_found_by_content(tmp_path):
    (tmp_path / "film").write_bytes(make_film(RNG.integers(0, 256, (9, 9), dtype=np.uint8)))
    (tmp_path / "notes.txt").write_text("no image")
    assert read_folders([tmp_path])[0].files == ("film",)
