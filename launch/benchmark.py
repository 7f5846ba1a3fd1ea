"""Measure the speed of jaxgan and its peers, in turns.

Example: python launch/benchmark.py --suite=dcgan_train --case='batch 64' --peers=torch
"""

import signal
import sys

import cli
from absl import flags

from jaxgan.benchmark.launched import Launcher
from jaxgan.benchmark.run import run_benchmark
from jaxgan.benchmark.suites import PEERS, SUITES
from jaxgan.core.console import say
from jaxgan.training.loop import list_end_signals

FLAGS = flags.FLAGS
_EFFORT = (
    "This measures every case of every suite: some hours on two cores. Quicker: --suite=sampling, "
    "--case='batch 64', or --seconds=600 for ten minutes in all. Ctrl-C ends it."
)
flags.DEFINE_list("suite", list(SUITES), "Which suites, with commas.")
flags.register_validator(
    "suite",
    lambda names: names and set(names) <= set(SUITES),
    message=f"expected some of {', '.join(SUITES)}, with commas between.",
)
flags.DEFINE_list("peers", list(PEERS), "Which peers to compare with, with commas; '' for none.")
flags.register_validator(
    "peers", lambda names: set(names) <= set(PEERS), message=f"expected some of {', '.join(PEERS)}."
)
flags.DEFINE_string("case", "", "Only the cases with this text in their name, e.g. 'batch 64'.")
flags.DEFINE_integer("rounds", 5, "Number of rounds in which the peers take turns.", lower_bound=1)
flags.DEFINE_float("seconds", 0.0, "Approximate time, shared by the suites; 0: no limit.")
flags.DEFINE_bool("small", False, "Tiny networks: a test that it works, not of its speed.")
flags.DEFINE_string("json", None, "Write everything measured to this file.")
flags.DEFINE_string("plot", None, "Write a bar chart to this PNG file.")


def main() -> None:
    """Flags to one call."""
    if not (FLAGS["case"].present or FLAGS["suite"].present or FLAGS.seconds or FLAGS.small):
        say(_EFFORT)
    # An exception, so that the measured processes end together with this one.
    for number in list_end_signals():
        signal.signal(number, lambda number, _: sys.exit(128 + number))
    run_benchmark(
        FLAGS.suite,
        peers=FLAGS.peers,
        case=FLAGS.case,
        rounds=FLAGS.rounds,
        small=FLAGS.small,
        seconds=FLAGS.seconds,
        launcher=Launcher(
            script=cli.ROOT / "launch" / "train_dcgan.py",
            sample=cli.ROOT / "launch" / "sample.py",
            config=cli.ROOT / "configs" / "dcgan.py",
            class_name="pneumonia",
        ),
        json_path=cli.get_file("json"),
        plot_path=cli.get_file("plot"),
    )


if __name__ == "__main__":
    cli.run(main)
