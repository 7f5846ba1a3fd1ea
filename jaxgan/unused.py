"""Which settings have no effect, with the others as they are: named, never ignored in silence.

Names are as a user gives them: `config.FIELD` of a config, `--FLAG` of a launcher. The name of a
group of fields stands for all that is in it.
"""

from collections.abc import Iterable, Mapping, Sequence

from jaxgan.core.errors import UserError
from jaxgan.sampling.selection import RANKING_RULES
from jaxgan.settings import DcganSettings, GmdSettings

LOOK_FLAGS = ("--fit", "--value_range", "--window")  # data flags that concern any folder

Unused = Mapping[str, str]  # the reason, by name


def describe_unused(changed: Iterable[str], unused: Unused) -> str | None:
    """Return which of the `changed` names have no effect and why, None where all have one."""
    by_reason: dict[str, list[str]] = {}
    for name in changed:
        for group, reason in unused.items():
            if name == group or name.startswith(f"{group}."):
                by_reason.setdefault(reason, []).append(name)
                break
    sentences = [
        f"{', '.join(names)} {'has' if len(names) == 1 else 'have'} no effect: {reason}."
        for reason, names in by_reason.items()
    ]
    return " ".join(sentences) or None


def check_unused(changed: Iterable[str], unused: Unused) -> None:
    """Raise `UserError` where a changed name has no effect."""
    found = describe_unused(changed, unused)
    if found is not None:
        raise UserError(f"{found} Leave out what has no effect.")


# Fields of a config -----------------------------------------------------------------------------


def find_unused_by_gmd(settings: GmdSettings, group: str) -> dict[str, str]:
    """Return which fields of a classifier have no effect, each with `group` before its name."""
    if settings.optimizer == "adam":
        return {f"{group}.momentum": f"{group}.optimizer is adam, which has moments of its own"}
    return {}


def find_unused_by_gan(settings: DcganSettings, group: str) -> dict[str, str]:
    """Return which fields of a GAN's recipe have no effect, however it is trained."""
    unused = {}
    if not settings.diffaugment:
        unused[f"{group}.augment_policy"] = f"{group}.diffaugment is off"
    if not settings.augment_target:
        reason = f"{group}.augment_target is 0, so the strength is fixed"
        unused[f"{group}.augment_ramp_images"] = reason
    return unused


def find_unused_by_run(settings: DcganSettings) -> dict[str, str]:
    """Return which fields and flags of a GAN's own run have no effect."""
    unused = {**find_unused_by_gan(settings, "config"), **_find_unused_by_selection(settings)}
    if settings.selection.rule == "paper_code":
        unused["config.look_every_epochs"] = "rule paper_code looks at the end of every epoch"
    if not settings.measure_every_epochs:
        reason = "nothing is measured (config.measure_every_epochs is 0), and the newest is taken"
        unused["config.select_checkpoint"] = reason
    return unused


def _find_unused_by_selection(settings: DcganSettings) -> dict[str, str]:
    selection, unused = settings.selection, {}
    rule = f"rule {selection.rule}"
    ranks, is_code = selection.rule in RANKING_RULES, selection.rule == "paper_code"
    if selection.rule not in ("paper_text", "paper_code"):
        unused["threshold"] = f"{rule} keeps images without a threshold"
    if ranks or is_code:
        unused["per_epoch"] = f"{rule} keeps none of a look's images"
    elif not settings.look_every_epochs:
        unused["per_epoch"] = "the run is never looked at (config.look_every_epochs is 0)"
    if selection.rule in ("none", "paper_code"):
        unused["max_tries"] = f"{rule} tries no image in vain"
    if not ranks:
        unused["pool"] = f"{rule} does not choose the best of more images"
    if selection.num_accept:
        unused["targets"] = "config.selection.num_accept says how many images are kept"
    flags = {"--threshold": unused["threshold"]} if "threshold" in unused else {}
    return {**flags, **{f"config.selection.{name}": reason for name, reason in unused.items()}}


def find_unused_by_training(settings: GmdSettings, *, augment: bool) -> dict[str, str]:
    """Return which fields and flags of a classifier's own run do nothing."""
    flags = {} if augment else {"--synthetic_dir": "--augment is not given"}
    return {**flags, **find_unused_by_gmd(settings, "config")}


# Flags ------------------------------------------------------------------------------------------


def find_unused_by_sampling(accept: str, data_flags: Sequence[str]) -> dict[str, str]:
    """Return which flags of launch/sample.py have no effect with --accept=`accept`."""
    unused = dict.fromkeys([*data_flags, "--cache_dir"], "without --keep no data are read")
    if accept != "paper_text":
        reason = f"--accept={accept} takes every image that is drawn"
        unused |= {"--threshold": reason, "--max_tries": reason}
    return unused


def find_unused_by_keeping() -> dict[str, str]:
    """Return which flags of launch/sample.py have no effect with --keep."""
    names = ("num", "out", "accept", "threshold", "seed", "max_tries")
    reason = "--keep draws by the run's own rule, into its accepted/"
    unused = dict.fromkeys((f"--{name}" for name in names), reason)
    return unused | dict.fromkeys(LOOK_FLAGS, "a run says itself how its images are shown")


def find_unused_by_evaluation(
    *, is_run: bool, selection: bool, data_flags: Sequence[str]
) -> dict[str, str]:
    """Return which flags of launch/evaluate.py have no effect on a run, or on folders."""
    if not is_run:
        of_runs = [flag for flag in data_flags if flag not in LOOK_FLAGS]
        names = ("--workdir", "--checkpoint", "--num", "--seed", "--selection", *of_runs)
        return dict.fromkeys(names, "it is about a run, --class, and not about folders")
    unused = {"--image_size": "a run's images are compared in the size that it was trained with"}
    unused |= dict.fromkeys(LOOK_FLAGS, "a run says itself how its images are shown")
    if selection:
        unused["--features"] = "--selection compares in the features of the encoder alone"
    return unused
