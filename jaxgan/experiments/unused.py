"""Which fields of a config and which flags of a launcher have no effect on what it does."""

from collections.abc import Sequence

from jaxgan.core.unused import prefix_unused
from jaxgan.experiments.train_classifier import TrainClassifierSettings
from jaxgan.sampling.settings import SelectionSettings, TrainGanSettings

APPEARANCE_FLAGS = ("--fit", "--value_range", "--window")  # data flags for every folder of images


def find_unused_by_run(settings: TrainGanSettings) -> dict[str, str]:
    """Return which fields and flags of a GAN's own run (`train_gan`) have no effect."""
    unused = prefix_unused("config.gan", settings.gan.find_unused())
    unused |= _find_unused_by_selection(settings.selection, settings.look_every_epochs)
    if settings.selection.how.keeps_batches:
        unused["config.look_every_epochs"] = "rule paper_code checks at the end of every epoch"
    if not settings.measure_every_epochs:
        reason = "nothing is measured (config.measure_every_epochs is 0), so the newest is used"
        unused["config.select_checkpoint"] = reason
    return unused


def find_unused_by_training(settings: TrainClassifierSettings, *, augment: bool) -> dict[str, str]:
    """Return which fields and flags of a classifier's own run have no effect."""
    flags = {} if augment else {"--synthetic_dir": "--augment is not given"}
    unused = {
        **prefix_unused("config.optimizer", settings.optimizer.find_unused()),
        **prefix_unused("config.transfer", settings.transfer.find_unused()),
    }
    if not settings.stopping_share:
        unused["config.stopping_patience"] = "config.stopping_share is 0: no training stops early"
    return {**flags, **unused}


def _find_unused_by_selection(
    selection: SelectionSettings, look_every_epochs: int
) -> dict[str, str]:
    unused, how, rule = {}, selection.how, f"rule {selection.rule}"
    if not how.compares:
        unused["threshold"] = f"{rule} keeps images without a threshold"
    if not how.keeps_looks:
        unused["per_epoch"] = f"{rule} keeps no images of a check during training"
    elif not look_every_epochs:
        unused["per_epoch"] = "there are no checks during training (config.look_every_epochs is 0)"
    if how.keeps_batches or not (how.compares or how.chooses):
        unused["max_tries"] = f"{rule} rejects no image that it draws"
    if not how.chooses:
        unused["pool"] = f"{rule} does not choose among more images"
    if selection.num_accept:
        unused["targets"] = "config.selection.num_accept says how many images are kept"
    flags = {"--threshold": unused["threshold"]} if "threshold" in unused else {}
    return {**flags, **{f"config.selection.{name}": reason for name, reason in unused.items()}}


def find_unused_by_sampling(accept: str, data_flags: Sequence[str]) -> dict[str, str]:
    """Return which flags of launch/sample.py have no effect with --accept=`accept`."""
    unused = dict.fromkeys([*data_flags, "--cache_dir"], "no data are read without --keep")
    if accept != "paper_text":
        reason = f"--accept={accept} takes every image that is drawn"
        unused |= {"--threshold": reason, "--max_tries": reason}
    return unused


def find_unused_by_keeping() -> dict[str, str]:
    """Return which flags of launch/sample.py have no effect with --keep."""
    names = ("num", "out", "accept", "threshold", "seed", "max_tries", "truncation")
    reason = "--keep uses the run's own rule and truncation, and writes to its accepted/"
    unused = dict.fromkeys((f"--{name}" for name in names), reason)
    return unused | dict.fromkeys(APPEARANCE_FLAGS, "a run has its own settings for this")


def find_unused_by_evaluation(
    *, is_run: bool, selection: bool, data_flags: Sequence[str]
) -> dict[str, str]:
    """Return which flags of launch/evaluate.py have no effect on a run, or on folders."""
    if not is_run:
        of_runs = [flag for flag in data_flags if flag not in APPEARANCE_FLAGS]
        names = ("--workdir", "--checkpoint", "--num", "--seed", "--selection", *of_runs)
        return dict.fromkeys(names, "it is for a run (--class), not for folders")
    unused = {"--image_size": "a run's images are compared in the size that it was trained with"}
    unused |= dict.fromkeys(APPEARANCE_FLAGS, "a run has its own settings for this")
    if selection:
        reason = "--selection compares only in the features of the encoder"
        unused |= {"--features": reason, "--inception": reason}
    return unused


def find_unused_by_reader_study(
    *, has_answers: bool, is_run: bool, data_flags: Sequence[str]
) -> dict[str, str]:
    """Return which flags of launch/reader_study.py have no effect on a page, or with --answers."""
    if has_answers:
        names = ("run", "generated", "class", "checkpoint", "num_images", "seed", "out")
        flags = [*(f"--{name}" for name in names), *data_flags, "--cache_dir"]
        return dict.fromkeys(flags, "--answers only reads the answers of readers")
    if not is_run:
        return {"--checkpoint": "it is for a run (--run), not for a folder"}
    unused = dict.fromkeys(APPEARANCE_FLAGS, "a run has its own settings for this")
    return {**unused, "--class": "a run has its own class"}
