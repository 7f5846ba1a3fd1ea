"""Show real and generated images to a person (a visual Turing test), or compare the answers.

Example: python launch/reader_study.py --run=runs/dcgan/pneumonia --out=reader_study
"""

from pathlib import Path
from typing import Any

import cli
from absl import flags

from jaxgan.experiments.reader_answers import report_readers
from jaxgan.experiments.reader_study import check_asked, read_generated, show_folder, show_run
from jaxgan.experiments.unused import find_unused_by_reader_study
from jaxgan.sampling.runs import read_run_settings

FLAGS = flags.FLAGS
flags.DEFINE_string("run", None, "Folder of a GAN's run, e.g. runs/dcgan/pneumonia.")
flags.DEFINE_string("generated", None, "Instead: a folder of generated images.")
flags.DEFINE_string("class", None, "With --generated: the class of the images.")
flags.DEFINE_enum("checkpoint", None, ["best", "newest"], "Default: the run's own setting.")
flags.DEFINE_integer("num_images", 50, "Images on the page, half of them real.")
flags.DEFINE_integer("seed", 0, "Chooses the images and their order.")
flags.DEFINE_string("out", None, "Folder for the page.")
flags.DEFINE_list("answers", [], "Instead: files of answers that readers have saved; A,B.")
cli.define_data_flags()


def main() -> None:
    """Flags to one call."""
    is_for = {"has_answers": bool(FLAGS.answers), "is_run": bool(FLAGS.run)}
    if FLAGS.answers:
        cli.refuse_unused(find_unused_by_reader_study(**is_for, data_flags=cli.DATA_FLAGS))
        report_readers([Path(file) for file in FLAGS.answers])
        return
    check_asked(FLAGS.run, FLAGS.generated, FLAGS.out, FLAGS.num_images)
    cli.refuse_unused(find_unused_by_reader_study(**is_for, data_flags=cli.DATA_FLAGS))
    options: dict[str, Any] = {"num_images": FLAGS.num_images, "seed": FLAGS.seed}
    if FLAGS.run:
        settings = read_run_settings(Path(FLAGS.run))
        dataset = cli.load_data_of(settings.data, settings.gan)
        cli.announce(dataset)
        options["checkpoint"] = FLAGS.checkpoint
        show_run(Path(FLAGS.run), dataset, Path(FLAGS.out), **options)
    else:
        look = {name: FLAGS[name].value for name in ("fit", "value_range", "window")}
        generated = read_generated(Path(FLAGS.generated), **look)
        dataset = cli.load_data_of(generated.data, generated)
        cli.announce(dataset)
        options["class_name"] = FLAGS["class"].value
        show_folder(generated, dataset, Path(FLAGS.out), **options)


if __name__ == "__main__":
    cli.run(main)
