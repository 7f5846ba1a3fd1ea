"""jaxgan's own workloads: the steps that the launchers run."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxgan import ops
from jaxgan.benchmark.count import count_gan_step, count_generator, count_gmd_step, count_product
from jaxgan.benchmark.workload import Workload
from jaxgan.classifiers.gmd import Gmd
from jaxgan.classifiers.protocol import Classifier, InputForm
from jaxgan.classifiers.step import create_classifier_state, train_step
from jaxgan.core.types import Batch
from jaxgan.gans import objectives, two_player
from jaxgan.gans.dcgan import Discriminator, Generator
from jaxgan.gans.two_player import Player, Recipe
from jaxgan.ops.geometry import Padding

LATENT_SIZE = 100


def draw_pixels(batch_size: int, image_size: int, channels: int) -> np.ndarray:
    """Draw bytes [batch_size, image_size, image_size, channels]: what they show costs nothing."""
    shape = (batch_size, image_size, image_size, channels)
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


def repeat(step: Callable[..., Any], state: Any, batch: Any) -> Callable[[], None]:
    """Return a function that takes one step, waits for it, and keeps the new state."""
    compiled = jax.jit(step, donate_argnums=0)
    held = [state]
    key = jax.random.key(1)

    def run() -> None:
        held[0], metrics = compiled(held[0], batch, key)
        jax.block_until_ready((held[0], metrics))

    return run


def create_dcgan(
    width: int, axis_name: str | None = None
) -> tuple[Callable[..., Any], Callable[..., Any]]:
    """Return the paper's step at 64x64x3, and what draws its state from a key."""
    optimizer = optax.adam(2e-4, b1=0.5)
    step = functools.partial(
        two_player.train_step,
        generator=Player(Generator(width=width, axis_name=axis_name), optimizer),
        discriminator=Player(Discriminator(width=width, axis_name=axis_name), optimizer),
        recipe=Recipe(
            objectives.OBJECTIVES["non_saturating"],
            augment_fn=lambda images, keys, strength: images,
            latent_size=LATENT_SIZE,
            ema_decay=0.0,
        ),
        axis_name=axis_name,
    )
    create = functools.partial(
        two_player.create_gan_state,
        generator=Player(Generator(width=width), optimizer),
        discriminator=Player(Discriminator(width=width), optimizer),
        latent_size=LATENT_SIZE,
        image_shape=(64, 64, 3),
        keep_ema=False,
    )
    return step, create


def draw_batch(batch_size: int, image_size: int = 64, channels: int = 3) -> Batch:
    """Return drawn images, of classes 0, 1, 2 in turn, on the device."""
    pixels = draw_pixels(batch_size, image_size, channels)
    return Batch(jnp.asarray(pixels), jnp.arange(batch_size, dtype=jnp.int32) % 3)


def dcgan_train(*, batch_size: int, width: int) -> Workload:
    """One step of D and G."""
    step, create = create_dcgan(width)
    run = repeat(step, create(jax.random.key(0)), draw_batch(batch_size))
    return Workload(run, batch_size, count_gan_step(width) * batch_size)


def gmd_train(*, batch_size: int, width: int, image_size: int) -> Workload:
    """One step of GMD with SGD."""
    model, form = Gmd(width=width), InputForm(image_size, channels=3)
    bound = {"classifier": Classifier(lambda axis_name: model, form), "optimizer": optax.sgd(1e-3)}
    step = functools.partial(train_step, **bound)
    state = create_classifier_state(jax.random.key(0), **bound)
    flop = count_gmd_step(width, image_size) * batch_size
    return Workload(repeat(step, state, draw_batch(batch_size, image_size)), batch_size, flop)


def sample(*, batch_size: int, width: int) -> Workload:
    """Images of a generator in evaluation mode, on the device."""
    generator = Generator(width=width)
    latents = jax.random.normal(jax.random.key(0), (batch_size, LATENT_SIZE))
    variables = generator.init(jax.random.key(1), latents[:1], train=False)
    draw = jax.jit(functools.partial(generator.apply, train=False))
    flop = count_generator(width) * batch_size
    return Workload(lambda: jax.block_until_ready(draw(variables, latents)), batch_size, flop)


def convolution(
    *,
    product: str,
    batch_size: int,
    size: int,
    inputs: int,
    outputs: int,
    kernel_size: int,
    strides: int,
    padding: Padding,
    conv: Callable[..., Any] = ops.conv,
) -> Workload:
    """A layer's 'forward', 'input_gradient' or 'kernel_gradient'."""
    keys = jax.random.split(jax.random.key(0), 3)
    x = jax.random.normal(keys[0], (batch_size, size, size, inputs))
    kernel = jax.random.normal(keys[1], (kernel_size, kernel_size, inputs, outputs))
    apply = functools.partial(conv, strides=strides, padding=padding)
    shape = jax.eval_shape(apply, x, kernel).shape
    dy = jax.random.normal(keys[2], shape)

    def compute(x: Any, kernel: Any, dy: Any) -> Any:
        if product == "forward":
            return apply(x, kernel)
        index = 0 if product == "input_gradient" else 1
        return jax.vjp(apply, x, kernel)[1](dy)[index]

    compiled = jax.jit(compute)
    flop = count_product(shape, kernel.shape)
    return Workload(lambda: jax.block_until_ready(compiled(x, kernel, dy)), batch_size, flop)


def matrix_product(*, size: int) -> Workload:
    """A square float32 matrix product: the measured peak."""
    a = jax.random.normal(jax.random.key(0), (size, size))
    compiled = jax.jit(jnp.matmul)
    return Workload(lambda: jax.block_until_ready(compiled(a, a)), 1, 2 * size**3)
