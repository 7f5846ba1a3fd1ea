"""Training any classifier: pure functions of state, batch and key."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import optax

from jaxgan.classifiers.frozen import keep_frozen
from jaxgan.classifiers.protocol import Classifier, Outputs
from jaxgan.core.types import Array, Batch, Key, Metrics, Params
from jaxgan.devices.parallel import average, compute_whole_batch_size, take_part
from jaxgan.networks.losses import softmax_cross_entropy
from jaxgan.networks.state import NetworkState, apply_gradients, create_network_state
from jaxgan.ops.augment_classic import augment_classic


class ClassifierState(NetworkState):
    """What training changes: the network, and the number of steps taken."""

    step: Array


def create_classifier_state(
    key: Key, *, classifier: Classifier, optimizer: optax.GradientTransformation
) -> ClassifierState:
    """Draw the parameters; not traced, see `networks.state`."""
    size, channels = classifier.input.image_size, classifier.input.channels
    stored = jax.ShapeDtypeStruct((1, size, size, channels), jnp.uint8)
    seen = jax.eval_shape(classifier.input.scale, stored)
    images = jax.ShapeDtypeStruct(seen.shape, jnp.result_type(float))
    network = create_network_state(key, classifier.module, optimizer, images)
    return ClassifierState(
        network.params, network.batch_stats, network.opt_state, step=jnp.int32(0)
    )


def train_step(
    state: ClassifierState,
    batch: Batch,
    key: Key,
    *,
    classifier: Classifier,
    optimizer: optax.GradientTransformation,
    class_weights: Sequence[float] | None = None,
    axis_name: str | None = None,
) -> tuple[ClassifierState, Metrics]:
    """Descend the mean loss of this device's part of the batch, averaged over devices.

    The loss is the cross-entropy, plus that of the auxiliary heads times the classifier's weight.
    With `class_weights`, one for each class, the loss of an image is multiplied by that of its
    class.
    """
    module, images = classifier.create_module(axis_name), classifier.input.scale(batch.images)

    def loss_fn(params: Params) -> tuple[Array, tuple[Array, Params]]:
        outputs: Outputs
        with keep_frozen(classifier.frozen):
            outputs, updates = module.apply(
                {"params": params, "batch_stats": state.batch_stats},
                images,
                train=True,
                rngs={"dropout": key},
                mutable=["batch_stats"],
                method=classifier.method,
            )
        loss = _compute_loss(outputs.logits, batch.labels, class_weights)
        for logits in outputs.auxiliary:
            extra = _compute_loss(logits, batch.labels, class_weights)
            loss += classifier.auxiliary_weight * extra
        return loss, (outputs.logits, updates.get("batch_stats", {}))

    (loss, (logits, stats)), gradients = jax.value_and_grad(loss_fn, has_aux=True)(state.params)
    metrics = {"loss": loss, "accuracy": jnp.mean(jnp.argmax(logits, axis=-1) == batch.labels)}
    new_state = apply_gradients(state, gradients, stats, optimizer, axis_name)
    return new_state.replace(step=state.step + 1), average(metrics, axis_name)


def _compute_loss(logits: Array, labels: Array, class_weights: Sequence[float] | None) -> Array:
    losses = softmax_cross_entropy(logits=logits, labels=labels)
    if class_weights is not None:
        losses = losses * jnp.array(class_weights, losses.dtype)[labels]
    return jnp.mean(losses)


def train_step_classic(
    state: ClassifierState, batch: Batch, key: Key, *, axis_name: str | None = None, **bound: Any
) -> tuple[ClassifierState, Metrics]:
    """Change every image of the batch by classic augmentation, then do the usual step.

    The changes of an image depend on its place in the whole batch, not on its device.
    """
    num = compute_whole_batch_size(len(batch.images), axis_name)
    keys = take_part(jax.random.split(key, num), axis_name)
    images = augment_classic(batch.images, keys)
    # A key that differs from those of the images.
    behind = jax.random.fold_in(key, num)
    return train_step(state, Batch(images, batch.labels), behind, axis_name=axis_name, **bound)


def compute_probabilities(variables: Params, images: Array, *, classifier: Classifier) -> Array:
    """Return [batch, outputs] for uint8 images [batch, height, width, channels]."""
    seen = classifier.input.scale(images)
    outputs: Any = classifier.module.apply(variables, seen, train=False, method=classifier.method)
    return jax.nn.softmax(outputs.logits)
