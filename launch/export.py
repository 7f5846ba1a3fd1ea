"""Export a trained classifier or generator to files that others use without jaxgan.

Example: python launch/export.py --run=runs/gmd/real --out=exported
"""

from pathlib import Path

import cli
from absl import flags

from jaxgan.core.errors import UserError
from jaxgan.experiments.export import export_run

FLAGS = flags.FLAGS
flags.DEFINE_string("run", None, "Folder of a run, e.g. runs/gmd/real or runs/dcgan/pneumonia.")
flags.DEFINE_string("out", None, "Folder for the files and their model card.")
flags.DEFINE_list("format", [], "stablehlo, onnx. Default: both, if the package onnx is installed.")
flags.DEFINE_enum(
    "checkpoint", None, ["best", "newest"], "Default: a classifier's newest, a GAN's own setting."
)
flags.DEFINE_string("training_dir", None, "Folder of the run's training images, if moved.")
cli.define_cache_flag()


def main() -> None:
    """Call `export_run` with the flags."""
    if not FLAGS.run or not FLAGS.out:
        raise UserError(
            "Expected --run=FOLDER, the run of a classifier or of a GAN, and --out=FOLDER."
        )
    export_run(
        Path(FLAGS.run),
        Path(FLAGS.out),
        cache_dir=cli.get_cache_dir(),
        formats=tuple(name.strip().lower() for name in FLAGS.format if name.strip()),
        checkpoint=FLAGS.checkpoint,
        training_dir=Path(FLAGS.training_dir) if FLAGS.training_dir else None,
    )


if __name__ == "__main__":
    cli.run(main)
