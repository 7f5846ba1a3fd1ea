import numpy as np
import pytest
from PIL import Image

from jaxgan.core.errors import UserError
from jaxgan.data import limits, values
from jaxgan.data.values import AS_STORED, Spread, Values, View, choose_ranges, measure, show

EVERY_16_BITS = np.arange(2**16, dtype=np.uint16).reshape(256, 256)


def make(stored, kind="k", low=0, high=65535, **more) -> Values:
    return Values(np.asarray(stored), kind, low, high, **more)


def spread(low, high, *, least=None, largest=None, kind="k", full=(0.0, 65535.0)) -> Spread:
    least = low if least is None else least
    return Spread(kind, least, low, high, high if largest is None else largest, full)


# Showing ---------------------------------------------------------------------------------------


def test_the_whole_range_is_rounded_as_it_always_was():
    """What 16-bit PNG and TIFF, 12-bit TIFF and DICOM films came out as, to the bit."""
    for full in (4095, 65535):
        stored = EVERY_16_BITS[full >= EVERY_16_BITS].reshape(-1, 64)
        expected = (stored.astype(np.int64) * 255 + full // 2) // full
        np.testing.assert_array_equal(show(make(stored, high=full), AS_STORED), expected)
    for bits in range(9, 17):
        stored = EVERY_16_BITS[2**bits > EVERY_16_BITS].reshape(-1, 64)
        expected = np.rint(stored / (2**bits - 1) * 255.0)
        np.testing.assert_array_equal(show(make(stored, high=2**bits - 1), AS_STORED), expected)


def test_a_range_goes_from_black_to_white_and_no_further():
    shown = show(make([[0, 1000, 2000, 3000, 4000]]), View(ranges={"k": (1000.0, 3000.0)}))
    assert shown.tolist() == [[0, 0, 128, 255, 255]]
    other = show(make([[0, 65535]], kind="l"), View(ranges={"k": (1000.0, 3000.0)}))
    assert other.tolist() == [[0, 255]]


def test_what_was_asked_for_comes_before_what_was_found():
    view = View(asked=(0.0, 100.0), ranges={"k": (0.0, 1000.0)})
    assert show(make([[0, 100]]), view).tolist() == [[0, 255]]


def test_a_range_is_in_the_unit_and_not_as_stored():
    """Hounsfield units out of unsigned numbers; a negative slope turns black and white."""
    hounsfield = make([[0, 1024, 2048]], slope=1.0, intercept=-1024.0)
    assert show(hounsfield, View(asked=(-1024.0, 1024.0))).tolist() == [[0, 128, 255]]
    turned = make([[0, 50, 100]], high=100, slope=-1.0, intercept=100.0)
    assert show(turned, View(asked=(0.0, 100.0))).tolist() == [[255, 128, 0]]
    assert show(turned, AS_STORED).tolist() == [[255, 128, 0]]


def test_inverted_films_are_inverted_after_the_range():
    assert show(make([[0, 4, 8]], is_inverted=True), View(asked=(0.0, 8.0))).tolist() == [
        [255, 127, 0]
    ]


def test_signed_and_32_bit_numbers():
    signed = make(np.array([[-(2**31), 0, 2**31 - 1]], np.int32), low=-(2**31), high=2**31 - 1)
    assert show(signed, AS_STORED).tolist() == [[0, 128, 255]]
    unsigned = make(np.array([[2**31, 2**32 - 1]], np.uint32), high=2**32 - 1)
    assert show(unsigned, View(asked=(2.0**31, 2.0**32 - 1))).tolist() == [[0, 255]]


def test_blocks_make_no_difference(monkeypatch):
    whole = show(make(EVERY_16_BITS), AS_STORED)
    monkeypatch.setattr(limits, "_BLOCK", 1000)
    np.testing.assert_array_equal(show(make(EVERY_16_BITS), AS_STORED), whole)


def test_transparency_is_over_black_as_pillow_puts_it():
    gray, alpha = (part.astype(np.uint8) for part in np.mgrid[0:256, 0:256])
    film = Image.merge("LA", (Image.fromarray(gray), Image.fromarray(alpha))).convert("RGBA")
    expected = Image.alpha_composite(Image.new("RGBA", film.size, (0, 0, 0, 255)), film)
    shown = show(make(gray.astype(np.uint16) << 8, alpha=alpha, keeps_upper_byte=True), AS_STORED)
    np.testing.assert_array_equal(shown, np.asarray(expected)[..., 0])


def test_grays_are_counted_where_there_are_pixels_enough():
    assert values.count_grays(np.arange(1024).reshape(32, 32).astype(np.uint8) % 40) == 40
    assert values.count_grays(np.zeros((31, 33), np.uint8)) is None
    colour = np.zeros((32, 32, 3), np.uint8)
    colour[..., 1] = np.arange(32)
    assert values.count_grays(colour) == 32


# Finding the range -----------------------------------------------------------------------------


def test_a_film_is_measured_without_its_darkest_and_brightest_half_per_cent():
    film = np.linspace(1000, 2000, 10_000).astype(np.uint16).reshape(100, 100)
    film[0, :10], film[0, 10:20] = 0, 65535  # a tenth of a per cent each: a marker, hot pixels
    found = measure(make(film))
    assert (found.least, found.largest) == (0.0, 65535.0)
    assert 1000 <= found.low < 1010 and 1990 < found.high <= 2000
    assert found.full == (0.0, 65535.0)


def test_a_film_is_measured_in_its_unit():
    found = measure(make([[0, 10]], high=100, slope=-2.0, intercept=5.0))
    assert found == Spread("k", -15.0, -15.0, 5.0, 5.0, (-195.0, 5.0))


def test_padding_and_what_is_transparent_are_not_measured():
    film = np.full((10, 10), -2000, np.int16)
    film[4:6] = np.arange(20).reshape(2, 10)
    found = measure(make(film, low=-32768, high=32767, padding=(-2000, -2000)))
    assert (found.least, found.low, found.largest) == (0.0, 0.0, 19.0)
    alpha = np.where(film < 0, 0, 255).astype(np.uint8)
    assert measure(make(film, alpha=alpha)).least == 0.0
    assert measure(make(film, padding=(-3000, 3000))).least == -2000.0  # nothing else is left


def test_films_that_fill_their_bits_are_shown_as_stored():
    assert choose_ranges([spread(1000, 40_000)] * 3) == {}
    assert choose_ranges([spread(0, 16_384)] * 3) == {}  # a quarter: 64 grays
    assert choose_ranges([spread(0, 16_000)] * 3) != {}


def test_a_small_part_is_shown_from_the_least_to_the_largest_of_all_films():
    films = [spread(10, 5000, least=3), spread(0, 4000, largest=6000)]
    assert choose_ranges(films) == {"k": (0.0, 6000.0)}


def test_films_of_other_slopes_are_shown_alike_though_each_fills_its_bits():
    """PET: each slice has a slope of its own, so that its largest number is its largest value."""
    slopes = (1.0, 2.0, 1.5)
    films = [make([[0, 32767]], high=32767, slope=slope) for slope in slopes]
    ranges = choose_ranges([measure(film) for film in films])
    assert ranges == {"k": (0.0, 65534.0)}
    same = [make([[round(30_000 / slope)]], high=32767, slope=slope) for slope in slopes]
    assert {int(show(film, View(ranges=ranges))[0, 0]) for film in same} == {117}
    spreads = {str(film.slope): measure(film) for film in films}
    (notice,) = values.describe_ranges(spreads, ranges)
    assert "what the bits can hold is not the same in all" in notice
    flat = measure(make([[7]], high=32767, slope=9.0))  # nor does a blank film have its own
    assert choose_ranges([spread(0, 65535), flat]) == {"k": (0.0, 65535.0)}


def test_an_offset_is_no_use_of_the_bits():
    assert choose_ranges([spread(30_000, 35_000)]) == {"k": (30_000.0, 35_000.0)}


def test_markers_do_not_flatten_the_films():
    """White letters of 65535 on films of 12 bits: least to largest would leave 16 grays."""
    films = [spread(0, 4000 + n, largest=65535) for n in range(10)]
    assert choose_ranges(films) == {"k": (0.0, 4009.0)}


def test_one_film_that_is_otherwise_does_not_flatten_the_others():
    films = [spread(0, 4000 + n) for n in range(39)] + [spread(0, 65535)]
    assert choose_ranges(films) == {"k": (0.0, 4037.0)}  # two of 40 reach farther


def test_the_order_of_the_films_makes_no_difference():
    rng = np.random.default_rng(0)
    films = [spread(int(low), int(low + 3000)) for low in rng.integers(0, 4000, 50)]
    shuffled = [films[i] for i in rng.permutation(50)]
    assert choose_ranges(films) == choose_ranges(shuffled) != {}


def test_blank_films_say_nothing():
    assert choose_ranges([spread(7, 7)]) == {}
    assert choose_ranges([spread(7, 7), spread(0, 900)]) == {"k": (0.0, 900.0)}
    # what is nearly all black has tails that are one number: the ends are all there is to go by
    black = spread(0, 0, largest=900)
    assert choose_ranges([black]) == {"k": (0.0, 900.0)}
    assert choose_ranges([black, black, spread(0, 90, largest=900)]) == {"k": (0.0, 900.0)}


def test_each_kind_has_its_own_range():
    films = [spread(0, 900), spread(-1000, 2000, kind="HU", full=(-32768.0, 32767.0))]
    assert choose_ranges(films) == {"HU": (-1000.0, 2000.0), "k": (0.0, 900.0)}


# Settings --------------------------------------------------------------------------------------


def test_a_window_is_that_of_dicom():
    """PS3.3, C.11.2.1.2.1: c - 0.5 - (w - 1) / 2 is black, c - 0.5 + (w - 1) / 2 white."""
    assert values.parse_view("auto", "40,400") == View(asked=(-160.0, 239.0))
    assert values.parse_view("auto", "2048, 4096") == View(asked=(0.0, 4095.0))
    threshold = values.parse_view("auto", "100,1")
    assert show(make([[99, 100]]), threshold).tolist() == [[0, 255]]


def test_a_range_is_read():
    assert values.parse_view("auto", "") == AS_STORED
    assert values.parse_view("-1000,400.5", "") == View(asked=(-1000.0, 400.5))


@pytest.mark.parametrize(
    ("value_range", "window", "reason"),
    [
        ("0", "", r"--value_range=0: expected auto, or LOW,HIGH"),
        ("0,1,2", "", "expected auto, or LOW,HIGH"),
        ("", "", "expected auto, or LOW,HIGH"),
        ("a,b", "", "expected auto, or LOW,HIGH"),
        ("nan,1", "", "finite"),
        ("0,inf", "", "finite"),
        ("5,5", "", "from 5 to 5, expected the lower first"),
        ("5,1", "", "from 5 to 1, expected the lower first"),
        ("auto", "40", r"--window=40: expected CENTER,WIDTH"),
        ("auto", "40,0", "0 wide, expected 1 or more"),
        ("auto", "40,-5", "-5 wide, expected 1 or more"),
        ("auto", "nan,4", "finite"),
        ("0,5", "40,400", "were both given: give only one"),
    ],
)
def test_nonsense_is_refused(value_range, window, reason):
    with pytest.raises(UserError, match=reason):
        values.parse_view(value_range, window)


# What is said ----------------------------------------------------------------------------------


def test_the_range_is_told_with_its_numbers():
    films = {"a": spread(0, 900), "b": spread(5, 1000)}
    (notice,) = values.describe_ranges(films, choose_ranges(list(films.values())))
    assert "2 image(s) of k have no window and use 0 to 1000" in notice
    assert "0 is shown as black and 1000 as white" in notice
    assert "beyond" not in notice


def test_films_that_reach_beyond_are_named():
    films = {f"{n:02}": spread(0, 4000) for n in range(39)} | {"odd\n": spread(0, 65535)}
    (notice,) = values.describe_ranges(films, choose_ranges(list(films.values())))
    assert r"1 of them have more than 0.5% of their pixels beyond it" in notice
    assert r"odd\n" in notice and "\n" not in notice


def test_ways_are_told_where_they_differ():
    assert values.describe_ways(["a"] * 3) == []
    (notice,) = values.describe_ways(["of x", "of y", "of x"])
    assert "in 2 ways: 2 of x; 1 of y" in notice


def test_films_of_few_grays_are_named_ten_at_most():
    assert values.describe_few_grays({"a": 64, "b": None}) == []
    (notice,) = values.describe_few_grays({f"{n:02}\n": n for n in range(64)} | {"c": 64})
    assert notice.startswith("64 image(s) have fewer than 64 of 256 grays: ")
    assert r"09\n has 9, ..." in notice and "10" not in notice and "\n" not in notice
