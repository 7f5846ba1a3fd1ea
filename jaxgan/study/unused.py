"""Which settings of a study have no effect, and why: what a run of its own would need alone."""

from jaxgan.study.arms import Arm
from jaxgan.study.settings import StudySettings
from jaxgan.unused import find_unused_by_gan, find_unused_by_gmd

_SEED = "every job of a study has a seed of its own, made of fold and number"
_DATA = "the data of a study are those of config.data"
_DISPATCH = "config.{}.max_steps_per_dispatch alone says how long a dispatch of a study's job is"
_WHOLE = "a study trains its GANs to their last step without looking at them"
_SAVED = "a study saves its jobs by time, config.{}.checkpoint_every_seconds"
_CHOSEN = "which images are added, and how many, is a matter of config.arms, amounts and pool"
_LENGTH = "a study's classifiers train for config.num_updates and are tested once, at the end"
_SPLIT = "a study joins all splits and deals folds of its own, by config.fold_seed"
NEVER_READ = {
    "config.dcgan.seed": _SEED,
    "config.dcgan.look_every_epochs": _WHOLE,
    "config.dcgan.sample_every_epochs": _WHOLE,
    "config.dcgan.measure_every_epochs": _WHOLE,
    "config.dcgan.checkpoint_every_epochs": _SAVED.format("dcgan"),
    "config.dcgan.epochs_per_dispatch": _DISPATCH.format("dcgan"),
    "config.dcgan.selection.rule": _CHOSEN,
    "config.dcgan.selection.num_accept": _CHOSEN,
    "config.dcgan.selection.per_epoch": _CHOSEN,
    "config.dcgan.selection.max_tries": _CHOSEN,
    "config.dcgan.selection.pool": _CHOSEN,
    "config.dcgan.data": _DATA,
    "config.gmd.seed": _SEED,
    "config.gmd.num_epochs": _LENGTH,
    "config.gmd.evaluate_every_epochs": _LENGTH,
    "config.gmd.checkpoint_every_epochs": _SAVED.format("gmd"),
    "config.gmd.epochs_per_dispatch": _DISPATCH.format("gmd"),
    "config.gmd.data": _DATA,
    "config.data.val_fraction": _SPLIT,
    "config.data.split_seed": _SPLIT,
    "config.data.resident_bytes": "the images of a study's jobs always lie on the device",
}


def find_unused_by_study(settings: StudySettings) -> dict[str, str]:
    """Return which fields of a study's config have no effect."""
    arms = settings.create_arms()
    unused = {
        **_find_unused_amounts(settings),
        **NEVER_READ,
        **find_unused_by_gmd(settings.gmd, "config.gmd"),
    }
    if not settings.needs_generators:
        reason = "no arm of config.arms has generated images"
        names = ("config.dcgan", "config.num_gan_seeds", "config.holdout", "config.pool")
        return {**dict.fromkeys(names, reason), **unused}
    unused |= find_unused_by_gan(settings.dcgan, "config.dcgan")
    if not any(arm.chooses for arm in arms):
        unused["config.pool"] = "no arm of config.arms chooses among generated images"
    if not any(_compares(arm) for arm in arms):
        reason = "no arm of config.arms compares with a threshold"
        unused["config.dcgan.selection.threshold"] = reason
    if not any(arm.has_own_counts for arm in arms):
        reason = "no arm of config.arms adds images in the numbers of a table"
        unused["config.dcgan.selection.targets"] = reason
    return unused


def _compares(arm: Arm) -> bool:
    return arm.source in ("paper_text", "paper_code")


def _find_unused_amounts(settings: StudySettings) -> dict[str, str]:
    adding = [kind for kind in settings.arms if Arm(kind).source and not Arm(kind).has_own_counts]
    if not adding:
        reason = "no arm of config.arms adds images by amount"
        return {"config.amounts": reason, "config.amount_arms": reason}
    unused = {}
    strangers = [kind for kind in settings.amount_arms if kind not in adding]
    if strangers:
        reason = f"no arm {' or '.join(strangers)} of this study adds images by amount"
        unused["config.amount_arms"] = reason
    if len(settings.amounts) == 1 and not strangers:
        unused["config.amount_arms"] = "config.amounts has one amount, which all arms have"
    if len(settings.amounts) > 1 and len(strangers) == len(settings.amount_arms):
        used = next(arm.amount for arm in settings.create_arms() if arm.kind in adding)
        reason = f"all but {used:g} are left out, for no arm is among config.amount_arms"
        unused["config.amounts"] = reason
    return unused


# Coverage ---------------------------------------------------------------------------------------

_NOT_OF_COVERAGE = (
    "arms",
    "amounts",
    "amount_arms",
    "num_gan_seeds",
    "fold_seed",
    "holdout",
    "pool",
    "audit",
    "dcgan",
    "data.phantom_seed",
    "data.fit",
    "data.value_range",
    "data.window",
)


def find_unused_by_coverage(settings: StudySettings) -> dict[str, str]:
    """Return which fields of a study's config have no effect on `jaxgan.study.coverage`."""
    studies = "the studies of coverage have arms, patients and folds of their own"
    kept = "a study of coverage is done anew where it was not finished"
    return {
        **{f"config.{name}": studies for name in _NOT_OF_COVERAGE},
        **NEVER_READ,
        "config.gmd.checkpoint_every_seconds": kept,
        **find_unused_by_gmd(settings.gmd, "config.gmd"),
    }
