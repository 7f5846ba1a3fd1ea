"""Train GMD, with or without the images that the DCGANs have kept."""

from pathlib import Path

import cli
from absl import flags
from jaxgan.unused import find_unused_by_training

from jaxgan.core.errors import UserError
from jaxgan.core.settings import read_settings
from jaxgan.experiments.train_classifier import describe_run, load_synthetic, train_gmd
from jaxgan.settings import GmdSettings

FLAGS = flags.FLAGS
cli.define_data_flags()
cli.define_run_flags("configs/gmd.py:paper")
cli.define_process_flags()
flags.DEFINE_bool("augment", False, "Add the kept images of --synthetic_dir to the training set.")
flags.DEFINE_string("synthetic_dir", "runs/dcgan", "Where train_dcgan wrote the classes' runs.")
flags.DEFINE_list("augment_classes", [], "Of --augment: these classes only; default: all.")
flags.DEFINE_string("workdir", "runs/gmd", "The run is written to WORKDIR/real or /augmented.")


def main() -> None:
    """Flags to config to one call."""
    classes = FLAGS.augment_classes
    if classes and not FLAGS.augment:
        raise UserError("--augment_classes has no effect without --augment: give both or none.")
    cli.use_devices()
    cli.join_processes()
    settings = read_settings(GmdSettings, cli.override_data(FLAGS.config).to_dict())
    cli.tell_unused(find_unused_by_training(settings, augment=FLAGS.augment))
    dataset = cli.load_data_of(settings)
    cli.announce(dataset)
    synthetic_dir = Path(FLAGS.synthetic_dir) if FLAGS.augment else None
    if FLAGS.dry_run:
        synthetic = {}
        if synthetic_dir:
            synthetic = load_synthetic(synthetic_dir, dataset, settings, classes)
        cli.print_configuration(describe_run(settings, dataset, synthetic))
        return
    train_gmd(
        settings,
        dataset=dataset,
        workdir=cli.choose_workdir(),
        synthetic_dir=synthetic_dir,
        augment_classes=classes,
        notes=cli.describe_origin(),
        num_devices=FLAGS.num_devices,
    )


if __name__ == "__main__":
    cli.run(main)
