"""Measure generated images: of a run, or of any folder against another.

Example: python launch/evaluate.py --class=pneumonia
"""

from pathlib import Path
from typing import Any

import cli
from absl import flags

from jaxgan.evaluation.evaluate import evaluate
from jaxgan.evaluation.rules import compare_rules
from jaxgan.evaluation.subjects import check_subjects, load_folders, load_run
from jaxgan.experiments.unused import find_unused_by_evaluation
from jaxgan.sampling.runs import read_run_settings

FLAGS = flags.FLAGS
flags.DEFINE_string("class", None, "Class of the run to evaluate, e.g. pneumonia.")
flags.DEFINE_multi_string(
    "workdir", "runs/dcgan", "Where train_dcgan wrote the runs; with --selection several."
)
flags.DEFINE_enum("checkpoint", None, ["best", "newest"], "Default: the run's own setting.")
flags.DEFINE_integer("num", 0, "Images drawn from the run; 0: as many as it has training images.")
flags.DEFINE_integer("seed", 0, "Number of the first image; the same number gives the same image.")
flags.DEFINE_string("generated", None, "Instead of a run: a folder of generated images.")
flags.DEFINE_string("against", None, "With --generated: the real images that it was trained on.")
flags.DEFINE_string("held_out", None, "With --generated: other real images, as a control.")
flags.DEFINE_integer("image_size", 0, "With folders: pixels of a side; 0: of the smallest image.")
flags.DEFINE_bool("selection", False, "Compare the rules of selection on the images of a run.")
flags.DEFINE_string("features", None, "imagenet, or a file of jax.export: your own features.")
flags.DEFINE_string("inception", None, "Weights of 2015-12-05, as for pytorch-fid: FID and KID.")
flags.DEFINE_string("out", None, "Folder to write to; default: RUN/evaluation, or evaluation.")
flags.DEFINE_string("json", None, "Write the JSON to this file too.")
cli.define_data_flags()


def main() -> None:
    """Flags to one call."""
    name, folders = FLAGS["class"].value, (FLAGS.generated, FLAGS.against)
    workdirs = [Path(workdir) for workdir in FLAGS.workdir]
    has_several_runs = len(workdirs) > 1 and not FLAGS.selection
    check_subjects(name, *folders, FLAGS.held_out, has_several_runs=has_several_runs)
    is_for = {"is_run": bool(name), "selection": FLAGS.selection}
    cli.refuse_unused(find_unused_by_evaluation(**is_for, data_flags=cli.DATA_FLAGS))
    workdir = workdirs[-1]
    where: dict[str, Any] = {"json_path": cli.get_file("json"), "cache_dir": cli.get_cache_dir()}
    where["out"] = Path(FLAGS.out or (workdir / name / "evaluation" if name else "evaluation"))
    options: dict[str, Any] = {"num": FLAGS.num, "checkpoint": FLAGS.checkpoint, "seed": FLAGS.seed}
    if name:
        settings = read_run_settings(workdir / name)
        dataset = cli.load_data_of(settings.data, settings.gan)
        cli.announce(dataset)
        if FLAGS.selection:
            compare_rules(workdirs, name, dataset, **where, **options)
            return
        sets = load_run(workdir, name, dataset, **options)
    else:
        held_out = Path(FLAGS.held_out) if FLAGS.held_out else None
        paths = (Path(FLAGS.generated), Path(FLAGS.against), held_out)
        sets = load_folders(*paths, image_size=FLAGS.image_size, **cli.read_appearance_flags())
    where["inception_file"] = Path(FLAGS.inception) if FLAGS.inception else None
    evaluate(sets, features=FLAGS.features, **where)


if __name__ == "__main__":
    cli.run(main)
