from jaxgan.core.errors import list_some


def test_a_list_of_names_stops_at_ten_and_begins_no_line():
    assert list_some(["a", "b\nc"]) == r"a, b\nc"
    names = [str(n) for n in range(200)]
    assert list_some(names[:10]) == "0, 1, 2, 3, 4, 5, 6, 7, 8, 9"
    assert list_some(names) == "0, 1, 2, 3, 4, 5, 6, 7, 8, 9 and 190 more"
