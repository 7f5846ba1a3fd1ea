"""jaxgan's own workloads: the steps that the launchers run."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxgan import ops
from jaxgan.benchmark.count import (
    count_gan_step,
    count_generator,
    count_gmd_step,
    count_product,
    count_resnet18_step,
)
from jaxgan.benchmark.workload import Workload
from jaxgan.classifiers.gmd import Gmd
from jaxgan.classifiers.protocol import Classifier, InputForm
from jaxgan.classifiers.resnet import ResnetSettings
from jaxgan.classifiers.step import create_classifier_state, train_step
from jaxgan.core.types import Batch
from jaxgan.gans.dcgan import DcganSettings
from jaxgan.gans.protocol import Gan
from jaxgan.gans.two_player import GanState
from jaxgan.ops.geometry import Padding
from jaxgan.sampling.sampler import Sampler

LATENT_SIZE = 100


def draw_pixels(batch_size: int, image_size: int, channels: int) -> np.ndarray:
    """Draw bytes [batch_size, image_size, image_size, channels]: speed does not depend on them."""
    shape = (batch_size, image_size, image_size, channels)
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


def compile_step(step: Callable[..., Any]) -> Callable[..., Any]:
    """Return a step as the launchers compile it; it donates the state that it gets."""
    return jax.jit(step, donate_argnums=0)


def repeat(compiled: Callable[..., Any], state: Any, batch: Any) -> Callable[[], None]:
    """Return a function that takes one step, waits for it, and keeps the new state."""
    held = [state]
    key = jax.random.key(1)

    def run() -> None:
        held[0], metrics = compiled(held[0], batch, key)
        jax.block_until_ready((held[0], metrics))

    return run


def create_dcgan(width: int, *, image_size: int = 64, dtype: str = "float32") -> Gan[GanState]:
    """Return the paper's DCGAN, for images of 3 channels."""
    return DcganSettings(
        image_size=image_size,
        channels=3,
        dtype=dtype,
        latent_size=LATENT_SIZE,
        generator_width=width,
        discriminator_width=width,
        discriminator_norm="batch",
        objective="non_saturating",
        label_smoothing=0.0,
        num_critic_steps=1,
        clip_weights=0.0,
        gradient_penalty_weight=0.0,
        r1_weight=0.0,
        learning_rate=2e-4,
        beta1=0.5,
        beta2=0.999,
        diffaugment=False,
        augment_policy=(),
        augment_target=0.0,
        augment_ramp_images=1,
        ema_decay=0.0,
    ).create(num_epochs=1)


def draw_batch(batch_size: int, image_size: int = 64, channels: int = 3) -> Batch:
    """Return drawn images, of classes 0, 1, 2 in turn, on the device."""
    pixels = draw_pixels(batch_size, image_size, channels)
    return Batch(jnp.asarray(pixels), jnp.arange(batch_size, dtype=jnp.int32) % 3)


def dcgan_train(*, batch_size: int, width: int) -> Workload:
    """One step of D and G."""
    gan = create_dcgan(width)
    step = compile_step(gan.stages[0].create_step(None, 0))
    run = repeat(step, gan.create_state(jax.random.key(0)), draw_batch(batch_size))
    return Workload(run, batch_size, count_gan_step(width) * batch_size)


def gmd_train(*, batch_size: int, width: int, image_size: int) -> Workload:
    """One step of GMD with SGD."""
    model, form = Gmd(width=width), InputForm(image_size, channels=3)
    classifier = Classifier(lambda axis_name: model, form)
    return _classifier_train(classifier, batch_size, count_gmd_step(width, image_size))


def resnet18_train(*, batch_size: int, width: int, image_size: int) -> Workload:
    """One step of ResNet-18 with SGD; `width` is the number of features of the first stage."""
    settings = ResnetSettings(
        image_size=image_size, channels=3, depth=18, width=width / 64, dtype="float32"
    )
    features = [width << stage for stage in range(4)]
    flop = count_resnet18_step(features, image_size)
    return _classifier_train(settings.create(3), batch_size, flop)


def _classifier_train(classifier: Classifier, batch_size: int, flop: int) -> Workload:
    """One step with SGD; `flop` are those of one image."""
    bound = {"classifier": classifier, "optimizer": optax.sgd(1e-3)}
    step = compile_step(functools.partial(train_step, **bound))
    state = create_classifier_state(jax.random.key(0), **bound)
    batch = draw_batch(batch_size, classifier.input.image_size)
    return Workload(repeat(step, state, batch), batch_size, flop * batch_size)


def sample(*, batch_size: int, width: int) -> Workload:
    """Images as launch/sample.py draws them: from seeds to bytes in the host's memory."""
    gan = create_dcgan(width)
    sampler = Sampler(gan, jax.random.key(1), batch_size)
    networks = gan.get_networks(gan.create_state(jax.random.key(0)))
    draw = functools.partial(sampler.draw, networks, 0, batch_size)
    return Workload(draw, batch_size, count_generator(width) * batch_size)


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
