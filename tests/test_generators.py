"""The GANs of a study: what they note while they train, and which of before are trained again."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgan.sampling.listing import look_at_epoch_ends
from jaxgan.study.generators import GeneratorLab, _GanNotes
from jaxgan.training.epochs import EpochPlan
from tests.helpers import make_image_set, make_study_settings
from tests.test_listing import make_rows


@pytest.mark.parametrize("num_examples", [3, 8, 40])
def test_a_study_saves_what_the_looks_save(num_examples):
    """Of three images a batch of eight sees almost three epochs: one look a step."""
    settings = make_study_settings(gan_epochs=12, max_steps_per_dispatch=50)
    gan = settings.gan.create(settings.gan_epochs)
    plan = EpochPlan(num_examples, settings.gan_batch_size, settings.gan_epochs, 50)
    notes = _GanNotes(plan, gan, settings)
    looks = []
    for begin in range(0, plan.num_steps, 4):
        end = min(begin + 4, plan.num_steps)
        rows = make_rows(begin, end, 50)
        rows["first_fake"] = jnp.pad(rows["first_fake"], [(0, 0), (0, 30), (0, 30), (0, 0)])
        notes.note(begin, end, rows)
        looks += look_at_epoch_ends(plan, begin, end, rows, threshold=0.76)
    expected = [look.image for look in looks if look.image is not None]
    assert len(expected) > 0
    np.testing.assert_array_equal(notes.to_arrays()["code_images"], np.stack(expected))


@pytest.mark.parametrize(("num_images", "is_done_again"), [(9, True), (12, False)])
def test_a_study_trains_again_what_may_have_saved_an_image_twice(num_images, is_done_again):
    """Of 9 images 7 are learned from, of 12 there are 9: a batch of 8 is between them."""
    lab = GeneratorLab(make_study_settings(holdout=0.2), capacity=12, devices=jax.devices()[:1])
    job = lab.create_job(make_image_set(num_images), name="g", seed=1)
    assert ("looks" in job.record) is is_done_again
