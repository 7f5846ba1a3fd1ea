"""Draw the kept images of a run that was stopped, as at the end of a full run."""

from pathlib import Path

from jaxgan.core.commands import name_command
from jaxgan.core.errors import UserError
from jaxgan.data.sets import Dataset, find_label
from jaxgan.evaluation.subjects import check_same_data
from jaxgan.experiments.class_run import draw_missing, open_class_run
from jaxgan.experiments.train_gan import check_class
from jaxgan.sampling.runs import RestoredRun, restore_run
from jaxgan.sampling.selection import hold_out_for_calibration
from jaxgan.training.run_folder import open_run_folder, read_record


def keep_images(
    workdir: Path, class_name: str, dataset: Dataset, *, checkpoint: str | None = None
) -> None:
    """Keep images of the run in `workdir`/`class_name` by its own rule, up to its own target.

    They are drawn from its best or newest checkpoint (see `restore_run`) and written to `accepted`
    and `accepted.csv`. Images kept during training stay; those of an earlier call are replaced. A
    run that continues afterwards removes these images, and ends as if they had not been drawn.
    """
    run = workdir / class_name
    find_label(dataset, class_name)
    check_same_data(run, dataset)
    restored = restore_run(run, checkpoint)
    settings = restored.settings
    if settings.selection.how.keeps_batches:
        raise UserError(
            f"{run} keeps images by the rule paper_code, which works only during training: let "
            f"its training continue. {name_command('sample')} without --keep draws images "
            "without a rule."
        )
    num_learned = _count_learned(restored, dataset, class_name)
    plan = settings.create_plan(num_learned, restored.gan.borders)
    images = check_class(dataset, class_name)
    with open_run_folder(run, read_record(run)) as folder:
        of_class = open_class_run(
            settings,
            restored.sampler,
            class_name,
            images,
            folder,
            class_names=dataset.class_names,
        )
        of_class.kept.rewind(settings.num_epochs)
        draw_missing(of_class, restored.networks, plan.compute_epoch(restored.step))


def _count_learned(restored: RestoredRun, dataset: Dataset, class_name: str) -> int:
    """Return how many images the run learns from: of all classes, for a model of all classes."""
    names = [class_name] if restored.label is None else dataset.class_names
    sets = [check_class(dataset, name) for name in names]
    rule, seed = restored.settings.selection.rule, restored.settings.data.split_seed
    return sum(len(hold_out_for_calibration(rule, images, seed)[0]) for images in sets)
