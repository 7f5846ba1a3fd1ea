"""Train a classifier of any family, with generated images or without.

Example: python launch/train_classifier.py --config=configs/gmd.py:quick --workdir=runs/gmd
"""

from pathlib import Path

import cli
from absl import flags

from jaxgan.classifiers.weights import read_start
from jaxgan.core.errors import UserError
from jaxgan.core.settings import read_settings
from jaxgan.experiments.train_classifier import (
    TrainClassifierSettings,
    describe_run,
    train_classifier,
)
from jaxgan.experiments.unused import find_unused_by_training
from jaxgan.sampling.synthetic import load_synthetic

FLAGS = flags.FLAGS


def define_flags(config_file: str | None, workdir: str, *, effort: str = "") -> None:
    """Define the flags of a training; without a default config, --config is required."""
    cli.define_data_flags()
    cli.define_run_flags(config_file, effort=effort)
    cli.define_process_flags()
    flags.DEFINE_bool("augment", False, "Train on the kept images of --synthetic_dir too.")
    flags.DEFINE_string("synthetic_dir", "runs/dcgan", "Where the GANs of the classes are.")
    flags.DEFINE_list("augment_classes", [], "With --augment: these classes, e.g. covid,normal.")
    cli.define_weights_flag()
    flags.DEFINE_string("workdir", workdir, "The run goes to WORKDIR/real or WORKDIR/augmented.")


def main() -> None:
    """Flags to config to one call."""
    classes = FLAGS.augment_classes
    if classes and not FLAGS.augment:
        raise UserError("--augment_classes has no effect without --augment: give both or none.")
    cli.ask_for_devices()
    cli.join_processes()
    values = cli.override_weights(cli.override_data(FLAGS.config).to_dict())
    settings = read_settings(TrainClassifierSettings, values)
    cli.report_unused(find_unused_by_training(settings, augment=FLAGS.augment))
    dataset = cli.load_data_of(settings.data, settings.classifier)
    cli.announce(dataset)
    synthetic_dir = Path(FLAGS.synthetic_dir) if FLAGS.augment else None
    if FLAGS.dry_run:
        synthetic = load_synthetic(synthetic_dir, dataset, classes) if synthetic_dir else {}
        classifier = settings.create_classifier(len(dataset.class_names))
        start = read_start(settings.transfer.weights, classifier)
        cli.print_configuration(describe_run(settings, dataset, synthetic, start))
        return
    train_classifier(
        settings,
        dataset=dataset,
        workdir=cli.choose_workdir(),
        synthetic_dir=synthetic_dir,
        augment_classes=classes,
        notes=cli.describe_origin(),
        num_devices=FLAGS.num_devices,
    )


if __name__ == "__main__":
    define_flags(None, "runs/classifier")
    cli.run(main)
