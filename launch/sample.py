"""Generate images with the DCGAN of one class."""

from pathlib import Path

import cli
from absl import flags

from jaxgan.idle import find_idle_sampling
from jaxgan.sampling import sample_run

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
flags.mark_flags_as_required(["class", "out"])


def main() -> None:
    """Flags to one call."""
    cli.refuse_idle(find_idle_sampling(FLAGS.accept))
    sample_run(
        Path(FLAGS.workdir) / str(FLAGS["class"].value),
        Path(FLAGS.out),
        num=FLAGS.num,
        checkpoint=FLAGS.checkpoint,
        threshold=FLAGS.threshold if FLAGS.accept == "paper_text" else None,
        seed=FLAGS.seed,
        max_tries=FLAGS.max_tries,
    )


if __name__ == "__main__":
    cli.run(main)
