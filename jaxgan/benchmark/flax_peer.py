"""The same work in the style of Flax's own documentation: linen's layers, on `lax.conv`.

Two losses, each with its own pass through the generator, as `jax.value_and_grad` invites to write.
"""

import functools
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax.training.train_state import TrainState
from jax import Array, lax

from jaxgan.benchmark import ours
from jaxgan.benchmark.workload import Workload
from jaxgan.classifiers.blocks import IMAGENET_MEAN as MEAN
from jaxgan.classifiers.blocks import IMAGENET_SPREAD as SPREAD


class _State(TrainState):
    batch_stats: Any


class Generator(nn.Module):
    """DCGAN's generator at 64x64x3."""

    width: int

    @nn.compact
    def __call__(self, latents: Array, train: bool = True) -> Array:
        norm = functools.partial(nn.BatchNorm, use_running_average=not train, momentum=0.9)
        x = latents[:, None, None, :]
        for i, features in enumerate((8, 4, 2, 1)):
            strides, padding = ((1, 1), "VALID") if i == 0 else ((2, 2), "SAME")
            x = nn.ConvTranspose(
                features * self.width, (4, 4), strides, padding=padding, use_bias=False
            )(x)
            x = nn.relu(norm()(x))
        return nn.tanh(nn.ConvTranspose(3, (4, 4), (2, 2), padding="SAME", use_bias=False)(x))


class Discriminator(nn.Module):
    """DCGAN's discriminator at 64x64x3."""

    width: int

    @nn.compact
    def __call__(self, images: Array, train: bool = True) -> Array:
        x = images
        for i, features in enumerate((1, 2, 4, 8)):
            x = nn.Conv(features * self.width, (4, 4), (2, 2), padding=1, use_bias=False)(x)
            if i:
                x = nn.BatchNorm(use_running_average=not train, momentum=0.9)(x)
            x = nn.leaky_relu(x, 0.2)
        return nn.Conv(1, (4, 4), padding="VALID", use_bias=False)(x)[:, 0, 0, 0]


class Gmd(nn.Module):
    """GMD with 'VALID' padding and four outputs."""

    width: int

    @nn.compact
    def __call__(self, images: Array) -> Array:
        x = images
        for block in ((1, 2), (2, 4, 8)):
            for divisor in block:
                x = nn.relu(nn.Conv(self.width // divisor, (3, 3), padding="VALID")(x))
            x = nn.max_pool(x, (2, 2), (2, 2))
        x = x.reshape(x.shape[0], -1)
        for features in (100, 60):
            x = nn.relu(nn.Dense(features)(x))
        return nn.Dense(4)(x)


class Resnet18(nn.Module):
    """ResNet-18 with three outputs."""

    width: int

    @nn.compact
    def __call__(self, images: Array, train: bool = True) -> Array:
        conv = functools.partial(nn.Conv, use_bias=False)
        norm = functools.partial(nn.BatchNorm, use_running_average=not train, momentum=0.9)
        x = nn.relu(norm()(conv(self.width, (7, 7), (2, 2), padding=3)(images)))
        x = nn.max_pool(x, (3, 3), (2, 2), ((1, 1), (1, 1)))
        for block in range(8):
            features, strides = self.width << block // 2, 2 if block in (2, 4, 6) else 1
            y = nn.relu(norm()(conv(features, (3, 3), (strides, strides), padding=1)(x)))
            y = norm()(conv(features, (3, 3), padding=1)(y))
            if strides == 2:
                x = norm()(conv(features, (1, 1), (2, 2))(x))
            x = nn.relu(x + y)
        return nn.Dense(3)(x.mean(axis=(1, 2)))


def _create_state(
    network: nn.Module, example: Array, seed: int, optimizer: optax.GradientTransformation
) -> _State:
    variables = network.init(jax.random.key(seed), example)
    return _State.create(
        apply_fn=network.apply,
        params=variables["params"],
        tx=optimizer,
        batch_stats=variables["batch_stats"],
    )


def _apply(state: _State, params: Any, x: Array) -> tuple[Array, Any]:
    variables = {"params": params, "batch_stats": state.batch_stats}
    y, updates = state.apply_fn(variables, x, mutable=["batch_stats"])
    return y, updates["batch_stats"]


def _train_step(
    states: tuple[_State, _State], images: Array, key: Array
) -> tuple[tuple[_State, _State], Array]:
    generator, discriminator = states
    real = images.astype(jnp.float32) / 127.5 - 1.0
    latents = jax.random.normal(key, (images.shape[0], ours.LATENT_SIZE))
    bce = optax.sigmoid_binary_cross_entropy

    def discriminator_loss(params: Any) -> tuple[Array, Any]:
        fake, _ = _apply(generator, generator.params, latents)
        real_logits, _ = _apply(discriminator, params, real)
        fake_logits, stats = _apply(discriminator, params, fake)
        loss = bce(real_logits, jnp.ones_like(real_logits)).mean()
        return loss + bce(fake_logits, jnp.zeros_like(fake_logits)).mean(), stats

    (d_loss, stats), gradients = jax.value_and_grad(discriminator_loss, has_aux=True)(
        discriminator.params
    )
    discriminator = discriminator.apply_gradients(grads=gradients, batch_stats=stats)

    def generator_loss(params: Any) -> tuple[Array, Any]:
        fake, stats = _apply(generator, params, latents)
        logits, _ = _apply(discriminator, discriminator.params, fake)
        return bce(logits, jnp.ones_like(logits)).mean(), stats

    (g_loss, stats), gradients = jax.value_and_grad(generator_loss, has_aux=True)(generator.params)
    generator = generator.apply_gradients(grads=gradients, batch_stats=stats)
    return (generator, discriminator), d_loss + g_loss


def dcgan_train(*, batch_size: int, width: int) -> Workload:
    """One step of D and G."""
    images = jnp.asarray(ours.draw_pixels(batch_size, 64, 3))
    latents = jnp.zeros((1, ours.LATENT_SIZE))
    adam = optax.adam(2e-4, b1=0.5)
    states = (
        _create_state(Generator(width), latents, 0, adam),
        _create_state(Discriminator(width), jnp.zeros((1, 64, 64, 3)), 1, adam),
    )
    step = jax.jit(_train_step, donate_argnums=0)
    return Workload(ours.repeat(step, states, images), batch_size)


def _classifier_step(
    state: TrainState, batch: tuple[Array, Array], key: Array
) -> tuple[TrainState, Array]:
    del key
    images, labels = batch

    def loss_fn(params: Any) -> Array:
        logits = state.apply_fn({"params": params}, images.astype(jnp.float32) / 127.5 - 1.0)
        return optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()

    loss, gradients = jax.value_and_grad(loss_fn)(state.params)
    return state.apply_gradients(grads=gradients), loss


def gmd_train(*, batch_size: int, width: int, image_size: int) -> Workload:
    """One step of GMD with SGD."""
    network = Gmd(width)
    params = network.init(jax.random.key(0), jnp.zeros((1, image_size, image_size, 3)))["params"]
    state = TrainState.create(apply_fn=network.apply, params=params, tx=optax.sgd(1e-3))
    pixels = jnp.asarray(ours.draw_pixels(batch_size, image_size, 3))
    batch = pixels, jnp.arange(batch_size, dtype=jnp.int32) % 3
    return Workload(
        ours.repeat(jax.jit(_classifier_step, donate_argnums=0), state, batch), batch_size
    )


def _resnet_step(state: _State, batch: tuple[Array, Array], key: Array) -> tuple[_State, Array]:
    del key
    images, labels = batch
    scaled = (images.astype(jnp.float32) / 255.0 - jnp.array(MEAN)) / jnp.array(SPREAD)

    def loss_fn(params: Any) -> tuple[Array, Any]:
        logits, stats = _apply(state, params, scaled)
        loss = optax.softmax_cross_entropy_with_integer_labels(logits, labels)
        return loss.mean(), stats

    (loss, stats), gradients = jax.value_and_grad(loss_fn, has_aux=True)(state.params)
    return state.apply_gradients(grads=gradients, batch_stats=stats), loss


def resnet18_train(*, batch_size: int, width: int, image_size: int) -> Workload:
    """One step of ResNet-18 with SGD."""
    example = jnp.zeros((1, image_size, image_size, 3))
    state = _create_state(Resnet18(width), example, 0, optax.sgd(1e-3))
    pixels = jnp.asarray(ours.draw_pixels(batch_size, image_size, 3))
    batch = pixels, jnp.arange(batch_size, dtype=jnp.int32) % 3
    step = jax.jit(_resnet_step, donate_argnums=0)
    return Workload(ours.repeat(step, state, batch), batch_size)


def sample(*, batch_size: int, width: int) -> Workload:
    """Images of a generator in evaluation mode, from a key to bytes in the host's memory."""
    generator = Generator(width)
    shape = (batch_size, ours.LATENT_SIZE)
    variables = generator.init(jax.random.key(1), jnp.zeros(shape))

    @jax.jit
    def draw(variables: Any, key: Array) -> Array:
        images: Any = generator.apply(variables, jax.random.normal(key, shape), train=False)
        return jnp.round((images + 1.0) * 127.5).astype(jnp.uint8)

    key = jax.random.key(0)
    return Workload(lambda: np.asarray(draw(variables, key)), batch_size)


def convolution(**arguments: Any) -> Workload:
    """A layer's product by `lax.conv_general_dilated` and its derivatives."""
    return ours.convolution(**arguments, conv=_conv)


def _conv(x: Array, kernel: Array, *, strides: int, padding: Any) -> Array:
    return lax.conv_general_dilated(
        x, kernel, (strides, strides), padding, dimension_numbers=("NHWC", "HWIO", "NHWC")
    )
