"""Generate images with the GAN of one class, or keep those that its own rule accepts."""

from pathlib import Path

import cli
from absl import flags

from jaxgan.core.errors import UserError
from jaxgan.experiments.keep import keep_images
from jaxgan.experiments.sample import sample_run
from jaxgan.experiments.unused import find_unused_by_keeping, find_unused_by_sampling
from jaxgan.sampling.runs import read_run_settings

FLAGS = flags.FLAGS
flags.DEFINE_string("class", None, "The class whose generator to use.")
flags.DEFINE_string("workdir", "runs/dcgan", "Where train_dcgan wrote the classes' runs.")
flags.DEFINE_integer("num", 64, "How many images.")
flags.DEFINE_string("out", None, "Folder for the images and a grid of them.")
flags.DEFINE_enum("checkpoint", None, ["best", "newest"], "Default: what the run selects itself.")
flags.DEFINE_enum("accept", "none", ["none", "paper_text"], "Which images are written.")
flags.DEFINE_float("threshold", 0.76, "Least D(G(z)) of an image, with --accept=paper_text.")
flags.DEFINE_integer("seed", 0, "Latents are those of SEED, SEED + 1, ...: one number an image.")
flags.DEFINE_integer("max_tries", 20_000, "Images drawn, at most, with --accept=paper_text.")
flags.DEFINE_bool(
    "keep",
    False,
    "Instead: draw the images that the run's own rule keeps into its accepted/, as its end does. "
    "For a run that was stopped; with the --data_dir or --dataset of its training.",
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
    )


if __name__ == "__main__":
    cli.run(main)
