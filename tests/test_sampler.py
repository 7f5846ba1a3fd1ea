"""The sampler with a toy GAN: which images, whose scores, in batches of one size."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgan.core.errors import UserError
from jaxgan.gans.protocol import Gan, Given, Networks
from jaxgan.ops.pixels import scale_to_unit
from jaxgan.sampling.sampler import Sampler, Samples, draw_accepted, join_samples

NETWORKS = Networks({"shift": jnp.float32(1.0)}, {"gain": jnp.float32(3.0)})
CALLS: list[tuple[str, Given]] = []


def draw_latents(key, seeds):
    """The seeds themselves."""
    return {"gray": seeds.astype(jnp.float32)}


def generate(variables, latents, given):
    """Images of one gray: the seed's number, one more."""
    CALLS.append(("generate", given))
    gray = latents["gray"] + variables["shift"]
    return scale_to_unit(gray[:, None, None, None] * jnp.ones((1, 2, 3, 1)))


def score(variables, images, given):
    CALLS.append(("score", given))
    return variables["gain"] * jnp.mean(images, axis=(1, 2, 3))


def score_batch(variables, images, given):
    """Less the mean of the batch: an image's score depends on its neighbours."""
    logits = score(variables, images, given)
    return logits - jnp.mean(logits)


def draw_truncated(key, seeds, truncation):
    """A truncation of 0.5 halves the seeds' numbers."""
    return {"gray": seeds.astype(jnp.float32) * truncation}


def make_sampler(to_probability=None, label=None, **changes):
    gan = Gan(
        create_state=lambda key: None,
        stages=(),
        get_networks=lambda state: NETWORKS,
        draw_latents=draw_latents,
        generate=generate,
        score=score,
        score_batch=score_batch,
        to_probability=to_probability,
        draw_truncated=draw_truncated,
    )
    return Sampler(gan, None, batch_size=4, label=label, **changes)


def compute_logits(grays):
    return 3.0 * (np.array(grays) / 127.5 - 1.0)


@pytest.mark.parametrize("num", [0, 1, 4, 7])
def test_images_are_those_of_the_seeds_however_many_fill_the_last_batch(num):
    sampler = make_sampler()
    images = sampler.draw(NETWORKS, 10, num)
    assert images.shape == (num, 2, 3, 1) and images.dtype == np.uint8
    assert images[:, 0, 0, 0].tolist() == list(range(11, 11 + num))
    samples = sampler.draw_scored(NETWORKS, 10, num)
    np.testing.assert_array_equal(samples.images, images)
    assert samples.seeds.tolist() == list(range(10, 10 + num))


def test_the_paper_s_scores_are_by_the_statistics_of_the_whole_batch():
    """Of seven images the last batch has three of the draw and one that fills it up."""
    logits = compute_logits([[11, 12, 13, 14], [15, 16, 17, 18]])
    expected = (logits - logits.mean(axis=1, keepdims=True)).ravel()[:7]
    scores = make_sampler().draw_scored(NETWORKS, 10, 7).scores
    np.testing.assert_allclose(scores, expected, atol=1e-6)
    likely = make_sampler(lambda logits: 1 / (1 + jnp.exp(-logits)))
    scores = likely.draw_scored(NETWORKS, 10, 7).scores
    np.testing.assert_allclose(scores, 1 / (1 + np.exp(-expected)), atol=1e-6)


def test_a_score_of_an_image_alone_does_not_depend_on_the_neighbours():
    images = make_sampler().draw(NETWORKS, 10, 7)
    for to_probability in (None, lambda logits: 0 * logits):  # a logit in any case
        scores = make_sampler(to_probability).score(NETWORKS, images)
        np.testing.assert_allclose(scores, compute_logits(range(11, 18)), atol=1e-5)


@pytest.mark.parametrize("label", [None, 0, 2])
def test_a_label_is_given_to_whatever_is_asked(label):
    CALLS.clear()
    sampler = make_sampler(label=label)
    sampler.score(NETWORKS, sampler.draw_scored(NETWORKS, 0, 3).images)
    assert {name for name, _ in CALLS} == {"generate", "score"} and len(CALLS) == 3
    for _, given in CALLS:
        assert (given.labels is None) == (label is None)
        assert label is None or (given.labels.shape == (4,) and given.labels.dtype == jnp.int32)
    assert label is None or sampler._given.labels.tolist() == [label] * 4


def test_all_draws_of_a_sampler_are_by_one_program():
    CALLS.clear()
    sampler = make_sampler()
    for first, num in ((0, 3), (5, 9), (2**32 - 2, 2)):
        sampler.draw(NETWORKS, first, num)
        sampler.draw_scored(NETWORKS, first, num)
    assert [name for name, _ in CALLS] == ["generate", "score"]  # as they are traced


@pytest.mark.parametrize("truncation", [1.0, 0.5])
def test_every_draw_is_truncated_as_the_sampler_says(truncation):
    for sampler in (
        make_sampler(truncation=truncation),
        make_sampler().vary(truncation=truncation),
    ):
        grays = (np.arange(10, 17) * truncation + 1).astype(np.uint8)
        for images in (
            sampler.draw(NETWORKS, 10, 7),
            sampler.draw_scored(NETWORKS, 10, 7).images,
            sampler.vary(label=1).draw(NETWORKS, 10, 7),
            draw_accepted(sampler, NETWORKS, num=7, threshold=None, first_seed=10, max_tries=0)[
                0
            ].images,
        ):
            np.testing.assert_allclose(images[:, 0, 0, 0], grays, atol=1)


def test_each_truncation_has_one_program_however_often_it_is_asked_for():
    CALLS.clear()
    sampler = make_sampler()
    for truncation in (1.0, 0.5, 1.0, 0.5):
        sampler.vary(truncation=truncation).draw(NETWORKS, 0, 3)
    assert [name for name, _ in CALLS] == 2 * ["generate"]


@pytest.mark.parametrize("truncation", [1.0, 0.5])
def test_what_was_compiled_ahead_is_not_compiled_again(truncation, caplog):
    CALLS.clear()
    sampler = make_sampler(truncation=truncation)
    sampler.compile_ahead(jax.eval_shape(lambda: NETWORKS))
    assert [name for name, _ in CALLS] == ["generate", "score"]
    with jax.log_compiles(True):
        sampler.draw_scored(NETWORKS, 5, 9)
    assert len(CALLS) == 2 and "Finished XLA compilation" not in caplog.text


def test_seeds_that_there_are_not_have_their_sentence():
    for draw in (make_sampler().draw, make_sampler().draw_scored):
        with pytest.raises(UserError, match="from seed 4294967290 on were requested"):
            draw(NETWORKS, 2**32 - 6, 7)


def test_draws_are_joined_in_their_order_and_taken_by_mask_or_index():
    one, two = (make_sampler().draw_scored(NETWORKS, first, 2) for first in (5, 1))
    joined = join_samples([one, two])
    assert joined.seeds.tolist() == [5, 6, 1, 2]
    for part in (joined.take(np.array([3, 0])), joined.take(joined.seeds == 2)):
        assert isinstance(part, Samples)
        assert part.images[0, 0, 0, 0] == 3 and part.seeds[0] == 2
        assert part.scores[0] == two.scores[1]


@pytest.mark.parametrize(
    ("threshold", "num", "max_tries", "seeds", "tries"),
    [
        (None, 20, 8, [*range(20)], 20),  # `max_tries` is for a rule
        (0.0, 3, 99, [2, 3, 6], 8),  # the upper half of each batch
        (0.0, 5, 6, [2, 3, 6, 7], 8),  # whole batches, as long as there are tries
        (0.0, 5, 8, [2, 3, 6, 7], 8),
        (2.0, 5, 9, [], 12),
        (0.0, 0, 9, [], 0),
    ],
)
def test_images_are_drawn_until_enough_pass(threshold, num, max_tries, seeds, tries):
    found, tried = draw_accepted(
        make_sampler(),
        NETWORKS,
        num=num,
        threshold=threshold,
        first_seed=0,
        max_tries=max_tries,
    )
    assert (found.seeds.tolist(), tried) == (seeds, tries)
    assert found.images.shape == (len(seeds), 2, 3, 1)
    assert found.images[:, 0, 0, 0].tolist() == [seed + 1 for seed in seeds]


def test_each_batch_counts_with_what_it_has_itself():
    """Of the first one image passes, of the second all four: three are enough after two."""
    sampler = make_sampler()
    sampler = replace(sampler, gan=replace(sampler.gan, score_batch=score))
    found, tried = draw_accepted(
        sampler,
        NETWORKS,
        num=3,
        threshold=float(compute_logits(4)) - 1e-3,
        first_seed=0,
        max_tries=99,
    )
    assert (found.seeds.tolist(), tried) == ([3, 4, 5], 8)
