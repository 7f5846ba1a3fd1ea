"""Training and evaluating a classifier: pure functions of state, batch and key."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax
from flax import struct

from jaxgan.core.types import Array, Batch, Key, Metrics, Params
from jaxgan.devices.parallel import average
from jaxgan.networks.losses import softmax_cross_entropy
from jaxgan.ops.pixels import scale_to_unit


class ClassifierState(struct.PyTreeNode):
    """What training changes."""

    step: Array
    params: Params
    opt_state: optax.OptState


def create_classifier_state(
    key: Key,
    *,
    model: nn.Module,
    optimizer: optax.GradientTransformation,
    image_shape: tuple[int, int, int],
) -> ClassifierState:
    """Draw the parameters; `image_shape` is [height, width, channels]."""

    def create(key: Key) -> ClassifierState:
        params = model.init(key, jnp.zeros((1, *image_shape)))["params"]
        return ClassifierState(jnp.int32(0), params, optimizer.init(params))

    # one program: see gan.create_gan_state
    return jax.jit(create)(key)


def train_step(
    state: ClassifierState,
    batch: Batch,
    key: Key,
    *,
    model: nn.Module,
    optimizer: optax.GradientTransformation,
    axis_name: str | None = None,
) -> tuple[ClassifierState, Metrics]:
    """Descend the mean cross-entropy of this device's part of the batch, averaged over devices."""
    del key  # nothing here is random; every step has the same signature

    def loss_fn(params: Params) -> tuple[Array, Array]:
        logits: Any = model.apply({"params": params}, scale_to_unit(batch.images))
        return jnp.mean(softmax_cross_entropy(logits=logits, labels=batch.labels)), logits

    (loss, logits), gradients = jax.value_and_grad(loss_fn, has_aux=True)(state.params)
    metrics = {"loss": loss, "accuracy": jnp.mean(jnp.argmax(logits, axis=-1) == batch.labels)}
    updates, opt_state = optimizer.update(
        average(gradients, axis_name), state.opt_state, state.params
    )
    params = optax.apply_updates(state.params, updates)
    return ClassifierState(state.step + 1, params, opt_state), average(metrics, axis_name)


def predict(params: Params, images: Array, *, model: nn.Module) -> Array:
    """Return class probabilities [batch, num_outputs] of uint8 images [batch, h, w, channels]."""
    logits: Any = model.apply({"params": params}, scale_to_unit(images))
    return jax.nn.softmax(logits)
