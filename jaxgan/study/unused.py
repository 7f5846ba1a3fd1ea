"""Find the settings of a study that have no effect, and say why."""

from jaxgan.core.unused import prefix_unused
from jaxgan.study.arms import ARMS
from jaxgan.study.settings import StudySettings

_SPLIT = "a study joins all splits and makes its own folds, by config.fold_seed"
NEVER_READ = {
    "config.data.val_fraction": _SPLIT,
    "config.data.split_seed": _SPLIT,
    "config.data.resident_bytes": "the images of a study's jobs are always on the device",
}
_GAN_FIELDS = (
    "gan",
    "gan_epochs",
    "gan_batch_size",
    "num_gan_seeds",
    "holdout",
    "pool",
    "truncation",
)


def find_unused_by_study(settings: StudySettings) -> dict[str, str]:
    """Return the fields of a study's config that have no effect, with reasons."""
    arms = settings.create_arms()
    unused = {
        **_find_unused_amounts(settings),
        **NEVER_READ,
        **prefix_unused("config.optimizer", settings.optimizer.find_unused()),
        **prefix_unused("config.transfer", settings.transfer.find_unused()),
    }
    if not settings.needs_generators:
        reason = "no arm of config.arms has generated images"
        names = [f"config.{name}" for name in (*_GAN_FIELDS, "threshold", "targets")]
        return {**dict.fromkeys(names, reason), **unused}
    unused |= prefix_unused("config.gan", settings.gan.find_unused())
    if not any(arm.chooses for arm in arms):
        unused["config.pool"] = "no arm of config.arms chooses among generated images"
    if not any(arm.source.rule.compares for arm in arms):
        unused["config.threshold"] = "no arm of config.arms compares with a threshold"
    if not any(arm.has_own_counts for arm in arms):
        reason = "no arm of config.arms takes its numbers of images from a table"
        unused["config.targets"] = reason
    return unused


def _find_unused_amounts(settings: StudySettings) -> dict[str, str]:
    adding = [kind for kind in settings.arms if ARMS[kind].adds_by_amount]
    if not adding:
        reason = "no arm of config.arms adds images by an amount"
        return {"config.amounts": reason, "config.amount_arms": reason}
    unused = {}
    others = [kind for kind in settings.amount_arms if kind not in adding]
    if others:
        reason = f"this study has no arm {' or '.join(others)} that adds images by an amount"
        unused["config.amount_arms"] = reason
    if len(settings.amounts) == 1 and not others:
        unused["config.amount_arms"] = "config.amounts has only one amount, and all arms use it"
    if len(settings.amounts) > 1 and len(others) == len(settings.amount_arms):
        used = next(arm.amount for arm in settings.create_arms() if arm.kind in adding)
        reason = f"only {used:g} is used, because no arm with an amount is in config.amount_arms"
        unused["config.amounts"] = reason
    return unused


_UNUSED_BY_COVERAGE = (
    *("arms", "amounts", "amount_arms", "fold_seed", "audit", *_GAN_FIELDS, "threshold", "targets"),
    *("data.phantom_seed", "data.fit", "data.value_range", "data.window"),
)


def find_unused_by_coverage(settings: StudySettings) -> dict[str, str]:
    """Return the fields of a study's config that have no effect on coverage, with reasons."""
    studies = "coverage studies have their own arms, patients and folds"
    restarted = "an unfinished coverage study begins again"
    return {
        **{f"config.{name}": studies for name in _UNUSED_BY_COVERAGE},
        **NEVER_READ,
        "config.checkpoint_every_seconds": restarted,
        "config.keep_classifiers": "the classifiers of coverage studies are not kept",
        **prefix_unused("config.optimizer", settings.optimizer.find_unused()),
        **prefix_unused("config.transfer", settings.transfer.find_unused()),
    }
