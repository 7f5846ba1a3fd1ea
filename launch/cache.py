"""Show the content of jaxgan's cache, and empty it: all, or only what was not used for some days.

Example: python launch/cache.py --empty --older_than_days=30
"""

import time
from pathlib import Path

import cli
from absl import flags

from jaxgan.core.errors import UserError
from jaxgan.core.untrusted import printable
from jaxgan.data.cache import Item, list_items, list_old, remove_items, remove_unfinished

FLAGS = flags.FLAGS
cli.define_cache_flag()
flags.DEFINE_bool("empty", False, "Remove what is shown. It is made again when it is needed.")
flags.DEFINE_float(
    "older_than_days", 0.0, "Only what was not used for this number of days.", lower_bound=0.0
)


def main() -> None:
    """Print the table; remove its items if asked to."""
    folder = Path(FLAGS.cache_dir)
    if not folder.is_dir():
        raise UserError(
            f"There is no cache in {folder}: nothing was prepared, or --cache_dir differs."
        )
    items = list_items(folder)
    if FLAGS.older_than_days:
        items = list_old(items, FLAGS.older_than_days)
    for item in items:
        print(_describe(item))
    total = _format_bytes(sum(item.num_bytes for item in items))
    print(f"{len(items)} items, {total}, in {printable(str(folder))}.")
    if FLAGS.empty:
        remove_unfinished(folder)
        print(f"Removed: {_format_bytes(remove_items(folder, items))}.")


def _describe(item: Item) -> str:
    day = time.strftime("%Y-%m-%d", time.localtime(item.used))
    size = _format_bytes(item.num_bytes)
    return f"{item.kind:<24}{size:>12}   last used {day}   {printable(item.name)}"


def _format_bytes(num_bytes: float) -> str:
    return f"{num_bytes / 2**20:,.1f} MiB"


if __name__ == "__main__":
    cli.run(main)
