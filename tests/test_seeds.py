"""Any whole number as a seed: a result, or a sentence that says which are allowed."""

import dataclasses
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgan.core.errors import UserError
from jaxgan.core.seeds import NUM_SEEDS, wrap_seed
from jaxgan.data.phantom import FINDINGS, draw_film, plan_films
from jaxgan.data.settings import DataSettings
from jaxgan.data.split import split_by_patient
from jaxgan.experiments.train_gan import train_gan
from jaxgan.gans import two_player
from jaxgan.gans.protocol import Networks
from jaxgan.sampling.selection import choose_by_rank
from jaxgan.study.folds import create_folds
from jaxgan.study.simulation import World, run_simulations
from jaxgan.training.epochs import EpochPlan
from jaxgan.training.keys import create_keys
from tests.helpers import make_dataset, make_dcgan_settings, make_gmd_settings, make_sampler
from tests.test_ablation import make_settings as make_ablation_settings

SEEDS = (-(2**31) - 1, -1, 2**31 - 1, 2**31, 3_000_000_000, 2**32 - 1, 2**32, 10**30)
ALLOWED = re.compile(r"expected [a-z ]*(from )?-?\d+ (to \d+|or more)|from \d+ to \d+")


def use_dcgan_seed(seed):
    settings = make_dcgan_settings(
        seed=seed, num_epochs=1, selection={"rule": "calibrated", "max_tries": 9}
    )
    keys = create_keys(settings.seed)
    logits = np.linspace(-1, 1, 9)
    chosen = choose_by_rank("calibrated", logits, logits[:4], 3, seed=settings.seed)
    return [*jax.random.key_data(keys.latents).tolist(), *chosen.tolist()]


def use_gmd_seed(seed):
    return jax.random.key_data(create_keys(make_gmd_settings(seed=seed).seed).init)


def use_split_seed(seed):
    data = dataclasses.replace(make_gmd_settings().data, split_seed=seed)
    patients = [f"p{i}" for i in range(20)]
    shares = {"train": 0.5, "val": 0.5}
    return split_by_patient(np.arange(20) % 2, patients, shares, data.split_seed)["val"]


def use_fold_seed(seed):
    return create_folds(make_dataset(), 3, seed=seed).fold_of


def use_phantom_seed(seed):
    values = {**vars(make_gmd_settings().data), "phantom_seed": seed}
    seed = DataSettings(**values).phantom_seed
    (film,) = plan_films(counts={FINDINGS[0]: 1}, first_patient=0, seed=seed)
    return draw_film(seed=seed, patient=film.patient, film=0, finding=film.finding, size=16)


def draw_latents(first, num):
    """The latents [batch, size] that a sampler draws for `num` images, and the seeds it notes."""
    gan = dataclasses.replace(
        make_dcgan_settings().create_gan(),
        generate=lambda variables, latents, given: latents[:, None, :, None],
        score_batch=lambda variables, images, given: jnp.zeros(len(images)),
    )
    sampler = dataclasses.replace(make_sampler(make_dcgan_settings()), gan=gan)
    samples = sampler.draw_scored(Networks({}, {}), first, num)
    batches = sampler._draw_batches(Networks({}, {}), first, num)
    return np.concatenate([images[:, 0, :, 0] for images, _ in batches]), samples.seeds.tolist()


def use_sampling_seed(seed):
    latents, seeds = draw_latents(seed, 3)
    assert seeds == [seed, seed + 1, seed + 2]
    return latents


def use_ablation_seed(seed):
    train = make_dcgan_settings(seed=seed)
    return list(make_ablation_settings(train=train, num_seeds=2).seeds)


def use_simulation_seed(seed):
    world = {"small": World(num_patients=12, num_folds=2, num_seeds=2, num_gan_arms=1)}
    return [run_simulations(num_studies=1, num_pilots=1, seed=seed, worlds=world)["small"] != {}]


USES = {
    "config.seed of a DCGAN": use_dcgan_seed,
    "config.seed of a classifier": use_gmd_seed,
    "config.data.split_seed": use_split_seed,
    "config.fold_seed": use_fold_seed,
    "config.data.phantom_seed": use_phantom_seed,
    "--seed of sample and evaluate": use_sampling_seed,
    "config.train.seed of an ablation": use_ablation_seed,
    "--seed of simulate": use_simulation_seed,
}


@pytest.mark.parametrize("name", USES)
def test_any_seed_gives_a_result_or_a_sentence(name):
    results = {}
    for seed in SEEDS:
        try:
            results[seed] = USES[name](seed)
        except UserError as error:
            assert ALLOWED.search(str(error)), f"{seed}: {error}"
    assert 2**31 - 1 in results  # what is refused is the far end alone
    assert 3_000_000_000 in results


def test_a_seed_that_jax_would_take_for_another_is_refused():
    with pytest.raises(UserError, match=r"config\.seed is 4294967296, expected .* 4294967295\."):
        make_dcgan_settings(seed=2**32)
    assert [wrap_seed(seed) for seed in (0, 7, 2**32 - 1)] == [0, 7, 2**32 - 1]
    assert wrap_seed(-1) == 2**32 - 1


def test_the_latents_of_a_seed_are_what_they_always_were():
    expected = two_player.draw_latents(create_keys(0).latents, jnp.arange(8) + 5, 8)
    np.testing.assert_array_equal(draw_latents(5, 3)[0], expected)
    last, _ = draw_latents(NUM_SEEDS - 2, 2)  # the rest of the batch wraps around
    np.testing.assert_array_equal(last[2:], draw_latents(0, 6)[0][:6])
    with pytest.raises(UserError, match="from 0 to 4294967293"):
        draw_latents(NUM_SEEDS - 2, 3)


def test_a_run_whose_looks_would_run_out_of_latents_is_refused_before_it_begins():
    with pytest.raises(UserError, match="num_epochs is 300000000, expected at most 268435455"):
        make_dcgan_settings(num_epochs=300_000_000)
    with pytest.raises(UserError, match="expected fewer than 2147483648"):
        EpochPlan(num_examples=1000, batch_size=2, num_epochs=10**7, max_steps=1)


def test_a_large_seed_trains_to_the_end(tmp_path):
    settings = make_dcgan_settings(
        seed=3_000_000_000, num_epochs=1, diffaugment=False, selection={"rule": "none"}
    )
    train_gan(settings, dataset=make_dataset(), class_name="left", workdir=tmp_path, num_devices=1)
    assert (tmp_path / "left" / "report.json").is_file()
