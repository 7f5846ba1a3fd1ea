"""Train a GAN of any family on the images of one class, or one GAN per class.

Example: python launch/train_gan.py --class=pneumonia --config=configs/mlp.py:quick
"""

from typing import Any

import cli
from absl import flags

from jaxgan.core.settings import read_settings
from jaxgan.experiments.train_gan import (
    describe_run,
    list_classes,
    make_conditional,
    train_conditional,
    train_gan,
)
from jaxgan.experiments.unused import find_unused_by_run
from jaxgan.sampling.selection import RULES
from jaxgan.sampling.settings import TrainGanSettings

FLAGS = flags.FLAGS


def define_flags(config_file: str | None, workdir: str, *, effort: str = "") -> None:
    """Define the flags of a GAN's training; without a default config, --config is required."""
    cli.define_data_flags()
    cli.define_run_flags(config_file, effort=effort)
    cli.define_process_flags()
    flags.DEFINE_string("class", None, "Class to learn, e.g. pneumonia; all: one GAN per class.")
    flags.DEFINE_bool("conditional", False, "With --class=all: one model for all classes.")
    flags.DEFINE_string("workdir", workdir, "The run of class C goes to WORKDIR/C.")
    rules = tuple(RULES)
    help_text = "Which images are kept; default: the config's."
    flags.DEFINE_enum("accept", None, rules, help_text)
    flags.DEFINE_float("threshold", None, "The rule's minimum D(G(z)), 0 to 1; paper: 0.76.")
    flags.DEFINE_integer("num_accept", None, "How many images to keep; default: the config's.")
    flags.mark_flag_as_required("class")


def main() -> None:
    """Flags to config to one call for each class."""
    cli.ask_for_devices()
    cli.join_processes()
    flags_of_rule = {name: FLAGS[name].value for name in ("threshold", "num_accept")}
    cli.override(FLAGS.config.selection, rule=FLAGS.accept, **flags_of_rule)
    settings = read_settings(TrainGanSettings, cli.override_data(FLAGS.config).to_dict())
    cli.report_unused(find_unused_by_run(settings))
    dataset = cli.load_data_of(settings.data, settings.gan)
    cli.announce(dataset)
    wanted = str(FLAGS["class"].value)
    if FLAGS.conditional:
        settings, names = make_conditional(settings, dataset, wanted), [wanted]
    else:
        names = list_classes(dataset, wanted)
    if FLAGS.dry_run:
        runs = [describe_run(settings, dataset, name) for name in names]
        cli.print_configuration(runs[0] if len(runs) == 1 else runs)
        return
    options: dict[str, Any] = {"dataset": dataset, "num_devices": FLAGS.num_devices}
    options |= {"workdir": cli.choose_workdir(), "notes": cli.describe_origin()}
    if FLAGS.conditional:
        train_conditional(settings, **options)
        return
    for name in names:
        train_gan(settings, class_name=name, **options)


if __name__ == "__main__":
    define_flags(None, "runs/gan")
    cli.run(main)
