"""Generate images with the GAN of one class.

Example: python launch/sample.py --class=pneumonia --num=64 --out=samples
"""

from pathlib import Path

import cli
from absl import flags

from jaxgan.core.errors import UserError
from jaxgan.experiments.keep import keep_images
from jaxgan.experiments.sample import sample_run
from jaxgan.experiments.unused import find_unused_by_keeping, find_unused_by_sampling
from jaxgan.sampling.runs import read_run_settings

FLAGS = flags.FLAGS
flags.DEFINE_string("class", None, "Class of the generator, e.g. pneumonia.")
flags.DEFINE_string("workdir", "runs/dcgan", "Where train_dcgan wrote the runs.")
flags.DEFINE_integer("num", 64, "How many images.")
flags.DEFINE_string("out", None, "Folder for the images and a grid of them.")
flags.DEFINE_enum("checkpoint", None, ["best", "newest"], "Default: the run's own setting.")
flags.DEFINE_enum("accept", "none", ["none", "paper_text"], "Which images are written.")
flags.DEFINE_float("threshold", 0.76, "With --accept=paper_text: minimum D(G(z)), 0 to 1.")
flags.DEFINE_integer("seed", 0, "Number of the first image; the same number gives the same image.")
flags.DEFINE_integer("max_tries", 20_000, "With --accept=paper_text: images drawn, at most.")
flags.DEFINE_float("truncation", None, "Cuts the latents: above 0, 1: off; default: the run's own.")
flags.DEFINE_bool(
    "keep",
    False,
    "Instead: draw the images that a stopped run would keep, into accepted/ (give its --data_dir).",
)
cli.define_data_flags()
flags.mark_flag_as_required("class")


def main() -> None:
    """Flags to one call."""
    workdir, name = Path(FLAGS.workdir), str(FLAGS["class"].value)
    if FLAGS.keep:
        cli.refuse_unused(find_unused_by_keeping())
        settings = read_run_settings(workdir / name)
        dataset = cli.load_data_of(settings.data, settings.gan)
        cli.announce(dataset)
        keep_images(workdir, name, dataset, checkpoint=FLAGS.checkpoint)
        return
    if not FLAGS.out:
        raise UserError("Expected --out=DIR, a folder for the images, or --keep.")
    cli.refuse_unused(find_unused_by_sampling(FLAGS.accept, cli.DATA_FLAGS))
    sample_run(
        workdir / name,
        Path(FLAGS.out),
        num=FLAGS.num,
        checkpoint=FLAGS.checkpoint,
        threshold=FLAGS.threshold if FLAGS.accept == "paper_text" else None,
        seed=FLAGS.seed,
        max_tries=FLAGS.max_tries,
        truncation=FLAGS.truncation,
    )


if __name__ == "__main__":
    cli.run(main)
