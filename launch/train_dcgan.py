"""Train a DCGAN on the images of one class, or of every class in turn."""

import json

import cli
from absl import flags

from jaxgan.settings import RULES, DcganSettings, read_settings
from jaxgan.train_dcgan import check_class, describe_run, train_dcgan

FLAGS = flags.FLAGS
cli.define_data_flags()
cli.define_run_flags("configs/dcgan.py:paper")
cli.define_process_flags()
flags.DEFINE_string("class", None, "The class to train on, or 'all' for one DCGAN each.")
flags.DEFINE_string("workdir", "runs/dcgan", "The run of class C is written to WORKDIR/C.")
flags.DEFINE_enum("accept", None, RULES, "Which images are kept; see jaxgan/selection.py.")
flags.DEFINE_float("threshold", None, "What the rule compares with: 0.76 in the paper.")
flags.DEFINE_integer("num_accept", None, "How many images to keep; 0: as the config says.")
flags.mark_flag_as_required("class")


def main() -> None:
    """Flags to config to one call for each class."""
    cli.use_devices()
    cli.join_processes()
    selection = FLAGS.config.selection
    for name, flag in (
        ("rule", FLAGS.accept),
        ("threshold", FLAGS.threshold),
        ("num_accept", FLAGS.num_accept),
    ):
        if flag is not None:
            selection[name] = flag
    settings = read_settings(DcganSettings, FLAGS.config.to_dict())
    dataset = cli.load_data(
        settings.data, image_size=settings.image_size, channels=settings.channels
    )
    wanted = FLAGS["class"].value
    names = list(dataset.class_names) if wanted == "all" else [str(wanted)]
    for name in names:
        check_class(dataset, name)
    if FLAGS.dry_run:
        runs = [describe_run(settings, dataset, name) for name in names]
        print(json.dumps(runs[0] if len(runs) == 1 else runs, indent=2))
        return
    cli.announce(dataset)
    for name in names:
        train_dcgan(
            settings,
            dataset=dataset,
            class_name=name,
            workdir=cli.choose_workdir(),
            num_devices=FLAGS.num_devices,
        )


if __name__ == "__main__":
    cli.run(main)
