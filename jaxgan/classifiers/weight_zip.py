"""Read the members of a zip file of NumPy or PyTorch (PKWARE's APPNOTE 6.3, section 4.3).

Members without compression are views of the file. A member is decompressed to the size that it
claims and no further. All members together may have the size of a file of weights.
"""

import zlib

from jaxgan.classifiers.weight_limits import (
    MAX_ARRAYS,
    WeightError,
    check_head,
    check_size,
    damaged,
    take,
    take_number,
)

MARK = b"PK\x03\x04"
_ENTRY, _END = b"PK\x01\x02", b"PK\x05\x06"
_END_SIZE, _ENTRY_SIZE, _LOCAL_SIZE = 22, 46, 30
_MAX_COMMENT = 2**16 - 1
_STORED, _DEFLATED = 0, 8
_ENCRYPTED = 1  # of the flags
_ELSEWHERE = 2**32 - 1  # the number stands in a field for large archives


def read_members(content: memoryview) -> dict[str, memoryview]:
    """Return the content of every member by its name."""
    num, size, begin = _read_end(content)
    check_head(size)
    if num > MAX_ARRAYS + 16:  # PyTorch adds a few that are no arrays
        raise WeightError(f"has {num} members, more than are accepted")
    directory, at = take(content, begin, size, "the list of members"), 0
    members: dict[str, memoryview] = {}
    num_bytes = 0
    for _ in range(num):
        name, member, at = _read_entry(content, directory, at)
        num_bytes += len(member)
        check_size(num_bytes)
        if name in members:
            raise damaged("it has two members of one name")
        members[name] = member
    return members


def _read_end(content: memoryview) -> tuple[int, int, int]:
    """Return the number of members, and the size and place of their list."""
    tail = bytes(content[-(_END_SIZE + _MAX_COMMENT) :])
    at = tail.rfind(_END)
    if at < 0 or at + _END_SIZE > len(tail):
        raise damaged("the list of its members is missing, as in a file that was cut off")
    record = memoryview(tail)[at:]
    return tuple(  # type: ignore[return-value]
        take_number(record, *place, "the end") for place in ((10, 2), (12, 4), (16, 4))
    )


def _read_entry(content: memoryview, directory: memoryview, at: int) -> tuple[str, memoryview, int]:
    """Return the name and content of the member listed at `at`, and where the next is listed."""
    entry = take(directory, at, _ENTRY_SIZE, "a member")
    if entry[:4] != _ENTRY:
        raise damaged("the list of its members is broken")
    flags, method = (take_number(entry, place, 2, "a member") for place in (8, 10))
    checksum, packed, size = (take_number(entry, place, 4, "a member") for place in (16, 20, 24))
    lengths = [take_number(entry, place, 2, "a member") for place in (28, 30, 32)]
    name = bytes(take(directory, at + _ENTRY_SIZE, lengths[0], "a member's name"))
    local = take_number(entry, 42, 4, "a member")
    if flags & _ENCRYPTED or method not in (_STORED, _DEFLATED):
        raise WeightError("has a member that is encrypted or compressed in an unknown way")
    if _ELSEWHERE in (packed, size, local):
        raise WeightError("has a member of 4 GiB or more")
    member = _read_member(content, local, packed, size, method)
    if zlib.crc32(member) != checksum:
        raise damaged("the checksum of a member is not that of its bytes")
    return name.decode("utf-8", "replace"), member, at + _ENTRY_SIZE + sum(lengths)


def _read_member(
    content: memoryview, local: int, packed: int, size: int, method: int
) -> memoryview:
    head = take(content, local, _LOCAL_SIZE, "a member")
    if head[:4] != MARK:
        raise damaged("a member is not where the list says")
    lengths = (take_number(head, place, 2, "a member") for place in (26, 28))
    data = take(content, local + _LOCAL_SIZE + sum(lengths), packed, "a member")
    if method == _STORED:
        if packed != size:
            raise damaged("a member's two sizes differ")
        return data
    check_size(size)
    return _unfold(data, size)


def _unfold(data: memoryview, size: int) -> memoryview:
    unfolder = zlib.decompressobj(-zlib.MAX_WBITS)
    try:
        unfolded = unfolder.decompress(data, size + 1)
    except zlib.error:
        raise damaged("a compressed member can not be unfolded") from None
    if len(unfolded) != size or not unfolder.eof:
        raise damaged("a compressed member is not of the size that it claims")
    return memoryview(unfolded)
