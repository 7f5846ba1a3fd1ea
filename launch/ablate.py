"""What does each ingredient of a recipe do? Train the variants and write a table.

Example: python launch/ablate.py --config=configs/ablate.py:quick --class=pneumonia
"""

from pathlib import Path
from typing import Any

import cli
from absl import flags

from jaxgan.core.settings import read_settings
from jaxgan.experiments.ablation import AblationSettings, find_unused_by_ablation, run_ablation
from jaxgan.experiments.ablation_classes import run_all_classes
from jaxgan.training.jobs import check_complete

FLAGS = flags.FLAGS
cli.define_data_flags()
cli.define_run_flags(
    "configs/ablate.py:quick",
    effort="Without --config this is configs/ablate.py:quick: about an hour on two cores.",
)
flags.DEFINE_string("class", None, "Class to learn, e.g. pneumonia, or all. Default: the config's.")
flags.DEFINE_string("workdir", "runs/ablation", "The table goes to WORKDIR.")


def main() -> None:
    """Flags to config to one call."""
    cli.ask_for_devices()
    cli.override_data(FLAGS.config.train)
    values = FLAGS.config.to_dict()
    if FLAGS["class"].value:
        values["class_name"] = FLAGS["class"].value
    settings = read_settings(AblationSettings, values)
    cli.refuse_unused(find_unused_by_ablation(settings))
    if FLAGS.dry_run:
        cli.print_configuration(values)
        return
    # Gray: variants with three channels repeat it (see jaxgan/experiments/ablation.py).
    gan, data = settings.train.gan, settings.train.data
    dataset = cli.load_data(data, image_size=gan.image_size, channels=1)
    cli.announce(dataset)
    options: dict[str, Any] = {
        "dataset": dataset,
        "workdir": Path(FLAGS.workdir),
        "cache_dir": cli.get_cache_dir(),
        "num_devices": FLAGS.num_devices,
    }
    if settings.class_name == "all":
        report = run_all_classes(settings, **options)
    else:
        report = run_ablation(settings, **options).report
    check_complete(report["failures"])


if __name__ == "__main__":
    cli.run(main)
