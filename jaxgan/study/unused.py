"""Which settings of a study have no effect, and why: what a run of its own would need alone."""

from jaxgan.core.unused import prefix_unused
from jaxgan.study.arms import ARMS
from jaxgan.study.settings import StudySettings

_SPLIT = "a study joins all splits and deals folds of its own, by config.fold_seed"
NEVER_READ = {
    "config.data.val_fraction": _SPLIT,
    "config.data.split_seed": _SPLIT,
    "config.data.resident_bytes": "the images of a study's jobs always lie on the device",
}
_OF_GANS = ("gan", "gan_epochs", "gan_batch_size", "num_gan_seeds", "holdout", "pool")


def find_unused_by_study(settings: StudySettings) -> dict[str, str]:
    """Return which fields of a study's config have no effect."""
    arms = settings.create_arms()
    unused = {
        **_find_unused_amounts(settings),
        **NEVER_READ,
        **prefix_unused("config.optimizer", settings.optimizer.find_unused()),
        **prefix_unused("config.transfer", settings.transfer.find_unused()),
    }
    if not settings.needs_generators:
        reason = "no arm of config.arms has generated images"
        names = [f"config.{name}" for name in (*_OF_GANS, "threshold", "targets")]
        return {**dict.fromkeys(names, reason), **unused}
    unused |= prefix_unused("config.gan", settings.gan.find_unused())
    if not any(arm.chooses for arm in arms):
        unused["config.pool"] = "no arm of config.arms chooses among generated images"
    if not any(arm.source.rule.compares for arm in arms):
        unused["config.threshold"] = "no arm of config.arms compares with a threshold"
    if not any(arm.has_own_counts for arm in arms):
        reason = "no arm of config.arms adds images in the numbers of a table"
        unused["config.targets"] = reason
    return unused


def _find_unused_amounts(settings: StudySettings) -> dict[str, str]:
    adding = [kind for kind in settings.arms if ARMS[kind].adds_by_amount]
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


_NOT_OF_COVERAGE = (
    *("arms", "amounts", "amount_arms", "fold_seed", "audit", *_OF_GANS, "threshold", "targets"),
    *("data.phantom_seed", "data.fit", "data.value_range", "data.window"),
)


def find_unused_by_coverage(settings: StudySettings) -> dict[str, str]:
    """Return which fields of a study's config have no effect on `jaxgan.study.coverage`."""
    studies = "the studies of coverage have arms, patients and folds of their own"
    kept = "a study of coverage begins again where it was not finished"
    return {
        **{f"config.{name}": studies for name in _NOT_OF_COVERAGE},
        **NEVER_READ,
        "config.checkpoint_every_seconds": kept,
        **prefix_unused("config.optimizer", settings.optimizer.find_unused()),
        **prefix_unused("config.transfer", settings.transfer.find_unused()),
    }
