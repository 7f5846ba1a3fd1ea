"""Restart a launcher so that its memory lies in huge pages. Imports nothing that takes time.

XLA's CPU backend asks for the memory of a call anew each time, a gigabyte of it, and gets it in
pages of 4 KiB that the kernel fills with zeros one by one: a fifth of a DCGAN step. glibc asks for
huge pages only where the environment says so before the process starts. Elsewhere than on Linux
with glibc the variable says nothing to anyone.
"""

import os
import sys
from pathlib import Path

_VARIABLE = "GLIBC_TUNABLES"


def use_huge_pages() -> None:
    """Start this launcher anew with huge pages, unless the variable is the user's own already."""
    launched = Path(sys.argv[0]).resolve().parent == Path(__file__).resolve().parent
    if launched and sys.platform == "linux" and _VARIABLE not in os.environ:
        os.environ[_VARIABLE] = "glibc.malloc.hugetlb=1"
        os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])
