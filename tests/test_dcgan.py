"""Both DCGAN networks: sizes, parameter counts, what batch norm does."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgan.gans.dcgan import Discriminator, Generator


def count(variables):
    return sum(leaf.size for leaf in jax.tree.leaves(variables["params"]))


def init_shapes(network, example):
    return jax.eval_shape(lambda: network.init(jax.random.key(0), example, train=False))


def init(network, example):
    """Parameters, drawn by one program: operation by operation takes seconds."""
    return jax.jit(lambda key: network.init(key, example, train=False))(jax.random.key(0))


def apply(network, variables, x):
    return jax.jit(functools.partial(network.apply, train=False))(variables, x)


def test_parameter_counts_of_the_paper():
    assert count(init_shapes(Generator(), jnp.zeros((1, 100)))) == 3_576_704
    assert count(init_shapes(Discriminator(), jnp.zeros((1, 64, 64, 3)))) == 2_765_568


@pytest.mark.parametrize("size", [32, 64, 128])
@pytest.mark.parametrize("channels", [1, 3])
def test_image_sizes_and_channels(size, channels):
    generator = Generator(image_size=size, channels=channels, width=4)
    discriminator = Discriminator(image_size=size, width=4)
    variables = init(generator, jnp.zeros((2, 7)))
    images = apply(generator, variables, jnp.ones((2, 7)))
    assert images.shape == (2, size, size, channels)
    assert np.abs(images).max() <= 1.0
    assert apply(discriminator, init(discriminator, images), images).shape == (2,)


def test_an_impossible_size_is_named():
    with pytest.raises(ValueError, match="image_size is 48"):
        init_shapes(Generator(image_size=48), jnp.zeros((1, 100)))


def test_initialisation_is_the_reference_implementations():
    variables = init(Generator(), jnp.zeros((1, 100)))
    kernel = np.asarray(variables["params"]["up1"]["kernel"])
    assert kernel.std() == pytest.approx(0.02, rel=0.01)
    norm = variables["params"]["stem_norm"]
    assert np.mean(norm["scale"]) == pytest.approx(1.0, abs=0.005)
    assert np.std(norm["scale"]) == pytest.approx(0.02, rel=0.15)
    assert not np.any(norm["bias"])


def test_first_and_last_layers_have_no_batch_norm():
    params = init_shapes(Discriminator(), jnp.zeros((1, 64, 64, 3)))["params"]
    assert {name for name in params if name.endswith("_norm")} == {
        "down1_norm",
        "down2_norm",
        "down3_norm",
    }


def test_a_class_is_told_by_the_projection_of_the_summed_features():
    """What a class adds is what a head of its embedding at each of the 4x4 places would say."""
    images = jax.random.normal(jax.random.key(1), (6, 32, 32, 1))
    conditional = Discriminator(image_size=32, width=4, num_classes=3)
    plain = Discriminator(image_size=32, width=4)
    labels = jnp.array([0, 1, 2, 2, 1, 0])
    variables = conditional.init(jax.random.key(0), images, labels, train=False)
    embeddings = jax.random.normal(jax.random.key(2), (3, 16))
    params = {**variables["params"], "projection": {"embedding": embeddings}}
    stats = variables["batch_stats"]
    logits = conditional.apply(
        {"params": params, "batch_stats": stats}, images, labels, train=False
    )

    unconditional = {name: layer for name, layer in params.items() if name != "projection"}

    def score(kernel):
        layers = {**unconditional, "head": {"kernel": kernel}}
        return plain.apply({"params": layers, "batch_stats": stats}, images, train=False)

    of_all = score(params["head"]["kernel"])
    heads = [jnp.broadcast_to(e[None, None, :, None], (4, 4, 16, 1)) for e in embeddings]
    of_class = jnp.stack([score(head) for head in heads])[labels, jnp.arange(6)]
    np.testing.assert_allclose(logits, of_all + of_class, rtol=1e-4, atol=1e-5)
    # No bias of the class: the two images of each differ in what it adds.
    assert np.abs(of_class[:3] - of_class[:2:-1]).min() > 1e-3


def test_an_image_of_a_trained_generator_depends_on_its_latent_alone():
    generator = Generator(image_size=32, channels=1, width=4)
    latents = jax.random.normal(jax.random.key(1), (4, 7))
    variables = init(generator, latents)
    alone, together = (apply(generator, variables, x) for x in (latents[:1], latents))
    np.testing.assert_allclose(alone[0], together[0], atol=1e-6)
    trained, _ = generator.apply(variables, latents, train=True, mutable=["batch_stats"])
    assert np.abs(trained - together).max() > 1e-3
