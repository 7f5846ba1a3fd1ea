"""Do a study's intervals contain the truth? Small phantom studies, tested on 10,000 new phantoms.

Example: python launch/coverage.py --num_studies=60
"""

from pathlib import Path

import cli
from absl import flags

from jaxgan.core.files import write_json
from jaxgan.core.settings import read_settings
from jaxgan.core.versions import get_versions
from jaxgan.study.coverage import format_coverage, run_coverage
from jaxgan.study.settings import StudySettings
from jaxgan.study.unused import find_unused_by_coverage
from jaxgan.training.jobs import check_complete

FLAGS = flags.FLAGS
cli.define_run_flags("configs/study.py:tiny", effort="60 studies take an hour on one core.")
flags.DEFINE_integer("num_studies", 60, "Number of studies, each with its own patients.")
flags.DEFINE_integer("films_per_class", 40, "Films per class in each study.")
flags.DEFINE_string("workdir", "runs/coverage", "Every study and the table are kept in WORKDIR.")


def main() -> None:
    """Flags to one call; the table goes to standard output."""
    values = FLAGS.config.to_dict()
    settings = read_settings(StudySettings, values)
    cli.refuse_unused(find_unused_by_coverage(settings))
    if FLAGS.dry_run:
        cli.print_configuration(values)
        return
    cli.ask_for_devices()
    workdir = Path(FLAGS.workdir)
    result = run_coverage(
        settings,
        num_studies=FLAGS.num_studies,
        films_per_class=FLAGS.films_per_class,
        folder=workdir / "jobs",
        num_devices=FLAGS.num_devices,
    )
    print(format_coverage(result))
    write_json(workdir / "coverage.json", {**result, "versions": get_versions()})
    check_complete(result["failures"])


if __name__ == "__main__":
    cli.run(main)
