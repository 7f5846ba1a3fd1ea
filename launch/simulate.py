"""Show how often the rules of the verdict are wrong, on simulated studies with a known truth.

Example: python launch/simulate.py --num_studies=1000
"""

import cli
from absl import flags

from jaxgan.core.console import say
from jaxgan.core.files import write_json
from jaxgan.core.versions import get_versions
from jaxgan.study.simulation import format_simulations, run_simulations

FLAGS = flags.FLAGS
flags.DEFINE_integer("num_studies", 1000, "Studies without a difference, and as many with one.")
flags.DEFINE_integer("num_pilots", 100, "Studies to find which difference could be shown.")
flags.DEFINE_integer("seed", 0, "The seed of all random numbers.")
flags.DEFINE_string("out", None, "JSON file for all figures.")


def main() -> None:
    """Flags to one call; the table goes to standard output."""
    out = cli.get_file("out")
    say("1,000 studies of each world take 9 to 30 minutes on one core.")
    results = run_simulations(
        num_studies=FLAGS.num_studies, num_pilots=FLAGS.num_pilots, seed=FLAGS.seed
    )
    print(format_simulations(results))
    if out:
        write_json(out, {**results, "versions": get_versions()})


if __name__ == "__main__":
    cli.run(main)
