"""Predict the classes of new images with a trained classifier, and measure how good it is.

Example: python launch/predict.py --run=runs/gmd/real --images=DIR
"""

from pathlib import Path

import cli
from absl import flags

from jaxgan.core.errors import UserError
from jaxgan.data.folder import PATIENTS_FROM
from jaxgan.data.new_images import LABELS_FROM, Asked
from jaxgan.experiments.classifier_runs import CHECKPOINTS
from jaxgan.experiments.predict import predict_files
from jaxgan.experiments.prediction_output import report_predictions

FLAGS = flags.FLAGS
flags.DEFINE_multi_string("run", [], "Folder of a classifier's run; A,B for several runs.")
flags.DEFINE_list(
    "arm", [], "If --run is a study that keeps its classifiers: its arm; A,B for several."
)
flags.DEFINE_string("images", None, "Folder of images, or one image file.")
flags.DEFINE_enum("labels_from", "auto", LABELS_FROM, "Where the true classes come from:")
flags.DEFINE_enum("checkpoint", "newest", CHECKPOINTS, "Which of the run; best: as in its report.")
flags.DEFINE_string("training_dir", None, "Folder of the run's training images, if moved.")
flags.DEFINE_string("out", "predictions", "Folder for the table and the report.")
flags.DEFINE_bool("heatmaps", False, "Also draw heatmaps: where the classifier looks.")
column = "Column of a table with the images that gives the"
flags.DEFINE_string("label_column", None, f"{column} class.")
flags.DEFINE_string("patient_column", None, f"{column} patient.")
flags.DEFINE_string("source_column", None, f"{column} source, as the hospital.")
flags.DEFINE_string("patient_pattern", None, "Finds the patient in an image's path.")
flags.DEFINE_enum("patients_from", "auto", PATIENTS_FROM, "Where patients come from:")
flags.DEFINE_bool("follow_links", False, "Follow links that lead out of --images.")
flags.DEFINE_list("leave_out", [], "Files and folders to leave out.")
flags.DEFINE_enum(
    "on_bad_image", "error", ["error", "skip"], "Stop at bad images, or leave them out."
)
cli.define_cache_flag()


def main() -> None:
    """Predict the images, then report the predictions."""
    runs = [Path(run) for text in FLAGS.run for run in split_runs(text)]
    if not runs or not FLAGS.images:
        raise UserError(
            "Expected --run=FOLDER, the run of a trained classifier, and --images=DIR or FILE."
        )
    asked = Asked(
        labels_from=FLAGS.labels_from,
        label_column=FLAGS.label_column,
        patient_column=FLAGS.patient_column,
        patient_pattern=FLAGS.patient_pattern,
        patients_from=FLAGS.patients_from,
        source_column=FLAGS.source_column,
        follow_links=FLAGS.follow_links,
        leave_out=tuple(FLAGS.leave_out),
        skip_bad_images=FLAGS.on_bad_image == "skip",
    )
    found = predict_files(
        list(dict.fromkeys(runs)),
        Path(FLAGS.images),
        cache_dir=cli.get_cache_dir(),
        asked=asked,
        checkpoint=FLAGS.checkpoint,
        training_dir=Path(FLAGS.training_dir) if FLAGS.training_dir else None,
        heatmaps=FLAGS.heatmaps,
        arms=tuple(dict.fromkeys(FLAGS.arm)),
    )
    report_predictions(found, Path(FLAGS.out))


def split_runs(text: str) -> list[str]:
    """Return the folders that a flag names; an existing folder may have a comma in its name."""
    return [text] if Path(text).is_dir() else [part for part in text.split(",") if part]


if __name__ == "__main__":
    cli.run(main)
