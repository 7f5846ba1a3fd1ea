"""Does GAN augmentation help my classifier? Run a study; write its verdict and its page.

Example: python launch/study.py --config=configs/study.py:small --data_dir=DIR --workdir=runs/mine
"""

from pathlib import Path

import cli
from absl import flags

from jaxgan.core.settings import read_settings
from jaxgan.study.run import describe_study, run_study
from jaxgan.study.settings import StudySettings
from jaxgan.study.sources import read_sources
from jaxgan.study.unused import NEVER_READ, find_unused_by_study
from jaxgan.training.jobs import check_complete

FLAGS = flags.FLAGS
cli.define_data_flags()
cli.define_run_flags(
    "configs/study.py:paper",
    effort="Without --config this is the study of the paper: it needs a GPU, or weeks on a CPU. "
    "--config=configs/study.py:quick takes 5 to 18 minutes on two cores, :small 1 to 3 hours.",
)
cli.define_weights_flag()
flags.DEFINE_string("workdir", "runs/study", "The page goes to WORKDIR/report.html.")
flags.DEFINE_string("source_column", None, "Column of manifest.csv that names the hospital.")


def main() -> None:
    """Flags to config to one call."""
    cli.ask_for_devices()
    values = cli.override_weights(cli.override_data(FLAGS.config).to_dict())
    settings = read_settings(StudySettings, values)
    cli.refuse_unused(NEVER_READ)
    cli.report_unused(find_unused_by_study(settings))  # with other arms it may have an effect
    root = Path(FLAGS.data_dir) if FLAGS.data_dir else None
    classifier = settings.classifier
    dataset, gan_dataset = (
        cli.load_data_of(settings.data, learner)
        for learner in (classifier, settings.gan if settings.needs_generators else classifier)
    )
    cli.announce(dataset)
    sources = read_sources(root, dataset, FLAGS.source_column)
    if FLAGS.dry_run:
        cli.print_configuration(describe_study(settings, dataset))
        return
    study = run_study(
        settings,
        dataset=dataset,
        gan_dataset=gan_dataset,
        workdir=Path(FLAGS.workdir),
        num_devices=FLAGS.num_devices,
        sources=sources,
        notes=cli.describe_origin(),
        command=cli.describe_command(),
    )
    check_complete(study.report["failures"])


if __name__ == "__main__":
    cli.run(main)
