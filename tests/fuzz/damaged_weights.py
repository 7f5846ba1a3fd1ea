"""Read damaged files of weights: `python tests/fuzz/damaged_weights.py --files=200000`.

It needs no atheris. Whatever a file holds, the reader has to give arrays or its own error, in one
line without control characters, within 2 s of processor time. The first file that it does not do
so for ends the run and is left in --findings.
"""

import argparse
import resource
import sys
import time
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

import numpy as np

from jaxgan.classifiers.weight_files import parse_weights
from jaxgan.classifiers.weight_limits import WeightError
from jaxgan.core.untrusted import printable
from tests.weight_samples import damage, make_files

MAX_SECONDS = 2.0


def try_weights(content: bytes) -> str:
    """Hold the reader to arrays or a `WeightError`; return which it was."""
    began = time.process_time()
    try:
        for array in parse_weights(content)[1].values():
            array.tobytes()  # every number is met
        found = "read"
    except WeightError as error:
        assert str(error) == printable(str(error)), "its reason has control characters"
        found = "refused"
    assert time.process_time() - began < MAX_SECONDS, "it took too long"
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--files", type=int, default=200_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--findings", type=Path, default=Path("runs/fuzz"))
    arguments = parser.parse_args()
    rng, files, counts = np.random.default_rng(arguments.seed), make_files(), Counter[str]()
    for i in range(arguments.files):
        name = list(files)[i % len(files)]
        content = files[name]
        for _ in range(1 + int(rng.integers(3))):
            content = damage(content, rng) or b"\0"
        try:
            counts[f"{name} {try_weights(content)}"] += 1
        except BaseException:
            arguments.findings.mkdir(parents=True, exist_ok=True)
            (arguments.findings / f"damaged-{name}").write_bytes(content)
            raise
    for name, num in sorted(counts.items()):
        print(f"{num:7d} {name}")
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    print(f"{counts.total():7d} files, nothing but arrays and reasons; {memory} MiB at most")


if __name__ == "__main__":
    main()
