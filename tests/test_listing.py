"""The listing's looks: the same however many steps a dispatch has, and no image twice."""

import itertools

import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from jaxgan.core.errors import UserError
from jaxgan.experiments.train_gan import train_gan
from jaxgan.sampling.kept import read_table
from jaxgan.sampling.listing import look_at_epoch_ends
from jaxgan.training.epochs import EpochPlan
from jaxgan.training.run_folder import read_metrics
from tests.helpers import make_dataset, make_dcgan_settings


def make_rows(begin, end, max_steps):
    """Metrics whose every number tells its step; D loses in the steps that three divides."""
    steps = np.zeros(max_steps)
    steps[: end - begin] = np.arange(begin + 1, end + 1)
    images = np.zeros((max_steps, 2, 2, 1), np.float32)
    images[:, 0, 0, 0] = steps / 100
    return {
        "loss_d_fake": jnp.array(np.where(steps % 3 == 0, 1.0, 0.0)),
        "loss_d_real": jnp.array(np.full(max_steps, 0.5)),
        "d_fake": jnp.array(steps / 100),
        "first_fake": jnp.array(images),
    }


def look_at_all(plan, dispatches):
    looks = []
    for begin, end in dispatches:
        rows = make_rows(begin, end, plan.max_steps)
        looks += look_at_epoch_ends(plan, begin, end, rows, threshold=0.76)
    return [(look.step, look.epoch, look.image is not None, look.score) for look in looks]


@pytest.mark.parametrize(("num_examples", "batch_size"), [(8, 2), (7, 3), (5, 5), (3, 8), (2, 50)])
def test_the_looks_are_at_the_ends_of_epochs_whatever_a_dispatch_is(num_examples, batch_size):
    plan = EpochPlan(num_examples, batch_size, num_epochs=12, max_steps=50)
    whole = look_at_all(plan, [(0, plan.num_steps)])
    single = look_at_all(plan, [(s, s + 1) for s in range(plan.num_steps)])
    odd = [*range(0, plan.num_steps, 5), plan.num_steps]
    assert whole == single == look_at_all(plan, itertools.pairwise(dict.fromkeys(odd)))
    ends = sorted({plan.compute_end_of_epoch(epoch) for epoch in range(1, 13)})
    assert [step for step, *_ in whole] == ends
    assert [epoch for _, epoch, *_ in whole] == [plan.compute_epoch(step) for step in ends]
    assert [saved for *_, saved, _ in whole] == [step % 3 == 0 for step in ends]
    np.testing.assert_allclose([score for *_, score in whole], np.array(ends) / 100, rtol=1e-6)


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Runs of seven epochs by the listing's rule, with one and with three epochs a dispatch.

    With D barely trained its loss on fakes is about 0.69: a threshold below keeps each epoch.
    """
    settings = {
        "num_epochs": 7,
        "diffaugment": False,
        "measure_every_epochs": 0,
        "sample_every_epochs": 7,
        "select_checkpoint": "newest",
        "max_steps_per_dispatch": 20,
        "selection": {"rule": "paper_code", "threshold": 0.3},
    }
    made = {}
    for epochs in (1, 3):
        workdir = tmp_path_factory.mktemp(f"listing_{epochs}")
        train_gan(
            make_dcgan_settings(**settings, epochs_per_dispatch=epochs),
            dataset=make_dataset(),
            class_name="left",
            workdir=workdir,
            num_devices=1,
        )
        made[epochs] = workdir / "left"
    return made


def test_a_step_that_tells_too_little_is_a_sentence():
    plan = EpochPlan(8, 2, num_epochs=1, max_steps=4)
    rows = make_rows(0, 2, 4)
    del rows["first_fake"], rows["d_fake"]
    with pytest.raises(UserError, match="gives no d_fake, first_fake: choose another rule"):
        look_at_epoch_ends(plan, 0, 2, rows, threshold=0.76)


def test_more_epochs_a_dispatch_keep_the_same_images(runs):
    rows, more_rows = (read_table(run) for run in runs.values())
    assert rows == more_rows
    assert [row.epoch for row in rows] == [1, 2, 3, 4, 5, 6, 7]
    files, more_files = (
        [path.read_bytes() for path in sorted((run / "accepted").iterdir())]
        for run in runs.values()
    )
    assert files == more_files
    assert len(set(files)) == 7


def test_the_rule_keeps_the_stretched_first_image_of_a_lost_batch(runs):
    assert [line["acceptance_rate"] for line in read_metrics(runs[1])] == [1.0] * 7
    for row in read_table(runs[1]):
        with Image.open(runs[1] / "accepted" / row.file) as image:
            assert image.getextrema() == (0, 255)
