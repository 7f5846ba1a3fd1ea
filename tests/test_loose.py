import os

import numpy as np
import pytest
from PIL import Image

from jaxgan.core.errors import UserError
from jaxgan.data.loose import read_folders
from jaxgan.data.values import View
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


def test_a_folder_that_is_a_link_out_is_not_left_out_in_silence(tmp_path):
    write(tmp_path / "private" / "1.png")
    write(tmp_path / "shared" / "x" / "1.png")
    (tmp_path / "shared" / "again").symlink_to("x")
    assert len(read_folders([tmp_path / "shared"])[0]) == 1
    (tmp_path / "shared" / "y").symlink_to(tmp_path / "private")
    with pytest.raises(UserError, match=r"shared/y is a link that leads out") as caught:
        read_folders([tmp_path / "shared"])
    assert "--follow_links" not in str(caught.value)  # which this command does not have


def test_dicom_is_found_by_content(tmp_path):
    (tmp_path / "film").write_bytes(make_film(RNG.integers(0, 256, (9, 9), dtype=np.uint8)))
    (tmp_path / "notes.txt").write_text("no image")
    assert read_folders([tmp_path])[0].files == ("film",)


def write_deep(path, top, num=4):
    path.mkdir(parents=True)
    for n in range(num):
        pixels = RNG.integers(0, top + 1, (40, 40)).astype(np.uint16)
        pixels[0, 0] = top
        Image.fromarray(pixels).save(path / f"{n}.png")


def test_numbers_of_16_bits_are_shown_over_one_range_for_all_folders(tmp_path):
    write_deep(tmp_path / "a", 5000)
    write_deep(tmp_path / "b", 2500)
    one, two = read_folders([tmp_path / "a", tmp_path / "b"])
    assert one.images.max() == 255 and two.images.max() == 128  # 127.5, to the even
    assert any("5000 as white" in notice for notice in one.notices)
    asked = read_folders([tmp_path / "b"], view=View(asked=(0.0, 2500.0)))[0]
    assert asked.images.max() == 255 and asked.notices == ()
    write(tmp_path / "c" / "1.png", 40)
    mixed = read_folders([tmp_path / "a", tmp_path / "c"])[0]
    assert any("in 2 ways" in notice for notice in mixed.notices)
    with pytest.raises(UserError, match="no image holds gray of more than 8 bits"):
        read_folders([tmp_path / "c"], view=View(asked=(0.0, 2500.0)))


def test_images_that_are_not_square_are_made_so_as_asked(tmp_path):
    film = np.zeros((40, 80), np.uint8)
    film[:, :8] = 255
    Image.fromarray(film).save(tmp_path / "1.png")
    seen = {fit: read_folders([tmp_path], fit=fit)[0] for fit in ("crop", "pad", "stretch")}
    assert {fit: int(s.images.max()) for fit, s in seen.items()} == {
        "crop": 0,
        "pad": 255,
        "stretch": 255,
    }
    assert any("50%" in notice for notice in seen["crop"].notices)
    assert not any("cut off" in notice for notice in seen["pad"].notices)
