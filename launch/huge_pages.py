"""Restart a launcher so that its memory lies in huge pages. It imports no slow module.

XLA's CPU backend allocates the memory of each call again, about a gigabyte. The kernel gives it in
pages of 4 KiB and fills them with zeros one by one: that takes a fifth of a DCGAN step. glibc asks
for huge pages only if the environment says so before the process starts. On systems without Linux
and glibc, the variable has no effect.
"""

import os
import sys
from pathlib import Path

_VARIABLE = "GLIBC_TUNABLES"


def use_huge_pages() -> None:
    """Start this launcher again with huge pages, unless the variable is already set."""
    launched = Path(sys.argv[0]).resolve().parent == Path(__file__).resolve().parent
    if launched and sys.platform == "linux" and _VARIABLE not in os.environ:
        os.environ[_VARIABLE] = "glibc.malloc.hugetlb=1"
        os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])
