"""Which settings have no effect, with the others as they are: named, never ignored in silence.

Names are as a user gives them: `config.FIELD` of a config, `--FLAG` of a launcher. The name of a
group of fields stands for all that is in it.
"""

from collections.abc import Iterable, Mapping, Sequence

from jaxgan.errors import UserError
from jaxgan.selection import RANKING_RULES
from jaxgan.settings import DcganSettings, GmdSettings

LOOK_FLAGS = ("--fit", "--value_range", "--window")  # data flags that concern any folder

Idle = Mapping[str, str]  # the reason, by name


def describe_idle(changed: Iterable[str], idle: Idle) -> str | None:
    """Return which of the `changed` names have no effect and why, None where all have one."""
    by_reason: dict[str, list[str]] = {}
    for name in changed:
        for group, reason in idle.items():
            if name == group or name.startswith(f"{group}."):
                by_reason.setdefault(reason, []).append(name)
                break
    sentences = [
        f"{', '.join(names)} {'has' if len(names) == 1 else 'have'} no effect: {reason}."
        for reason, names in by_reason.items()
    ]
    return " ".join(sentences) or None


def check_idle(changed: Iterable[str], idle: Idle) -> None:
    """Raise `UserError` where a changed name has no effect."""
    found = describe_idle(changed, idle)
    if found is not None:
        raise UserError(f"{found} Leave out what has no effect.")


# Fields of a config -----------------------------------------------------------------------------


def find_idle_gmd(settings: GmdSettings, group: str) -> dict[str, str]:
    """Return which fields of a classifier have no effect, each with `group` before its name."""
    if settings.optimizer == "adam":
        return {f"{group}.momentum": f"{group}.optimizer is adam, which has moments of its own"}
    return {}


def find_idle_gan(settings: DcganSettings, group: str) -> dict[str, str]:
    """Return which fields of a GAN's recipe have no effect, however it is trained."""
    idle = {}
    if not settings.diffaugment:
        idle[f"{group}.augment_policy"] = f"{group}.diffaugment is off"
    if not settings.augment_target:
        reason = f"{group}.augment_target is 0, so the strength is fixed"
        idle[f"{group}.augment_ramp_images"] = reason
    return idle


def find_idle_run(settings: DcganSettings) -> dict[str, str]:
    """Return which fields and flags of a GAN's own run (`jaxgan.train_dcgan`) have no effect."""
    idle = {**find_idle_gan(settings, "config"), **_find_idle_selection(settings)}
    if settings.selection.rule == "paper_code":
        idle["config.look_every_epochs"] = "rule paper_code looks at the end of every epoch"
    if not settings.measure_every_epochs:
        reason = "nothing is measured (config.measure_every_epochs is 0), and the newest is taken"
        idle["config.select_checkpoint"] = reason
    return idle


def _find_idle_selection(settings: DcganSettings) -> dict[str, str]:
    selection, idle = settings.selection, {}
    rule = f"rule {selection.rule}"
    ranks, is_code = selection.rule in RANKING_RULES, selection.rule == "paper_code"
    if selection.rule not in ("paper_text", "paper_code"):
        idle["threshold"] = f"{rule} keeps images without a threshold"
    if ranks or is_code:
        idle["per_epoch"] = f"{rule} keeps none of a look's images"
    elif not settings.look_every_epochs:
        idle["per_epoch"] = "the run is never looked at (config.look_every_epochs is 0)"
    if selection.rule in ("none", "paper_code"):
        idle["max_tries"] = f"{rule} tries no image in vain"
    if not ranks:
        idle["pool"] = f"{rule} does not choose the best of more images"
    if selection.num_accept:
        idle["targets"] = "config.selection.num_accept says how many images are kept"
    flags = {"--threshold": idle["threshold"]} if "threshold" in idle else {}
    return {**flags, **{f"config.selection.{name}": reason for name, reason in idle.items()}}


def find_idle_training(settings: GmdSettings, *, augment: bool) -> dict[str, str]:
    """Return which fields and flags of a classifier's own run (`jaxgan.train_gmd`) do nothing."""
    flags = {} if augment else {"--synthetic_dir": "--augment is not given"}
    return {**flags, **find_idle_gmd(settings, "config")}


# Flags ------------------------------------------------------------------------------------------


def find_idle_sampling(accept: str, data_flags: Sequence[str]) -> dict[str, str]:
    """Return which flags of launch/sample.py have no effect with --accept=`accept`."""
    idle = dict.fromkeys([*data_flags, "--cache_dir"], "without --keep no data are read")
    if accept != "paper_text":
        reason = f"--accept={accept} takes every image that is drawn"
        idle |= {"--threshold": reason, "--max_tries": reason}
    return idle


def find_idle_keeping() -> dict[str, str]:
    """Return which flags of launch/sample.py have no effect with --keep."""
    names = ("num", "out", "accept", "threshold", "seed", "max_tries")
    reason = "--keep draws by the run's own rule, into its accepted/"
    idle = dict.fromkeys((f"--{name}" for name in names), reason)
    return idle | dict.fromkeys(LOOK_FLAGS, "a run says itself how its images are shown")


def find_idle_evaluation(
    *, is_run: bool, selection: bool, data_flags: Sequence[str]
) -> dict[str, str]:
    """Return which flags of launch/evaluate.py have no effect on a run, or on folders."""
    if not is_run:
        of_runs = [flag for flag in data_flags if flag not in LOOK_FLAGS]
        names = ("--workdir", "--checkpoint", "--num", "--seed", "--selection", *of_runs)
        return dict.fromkeys(names, "it is about a run, --class, and not about folders")
    idle = {"--image_size": "a run's images are compared in the size that it was trained with"}
    idle |= dict.fromkeys(LOOK_FLAGS, "a run says itself how its images are shown")
    if selection:
        idle["--features"] = "--selection compares in the features of the encoder alone"
    return idle
