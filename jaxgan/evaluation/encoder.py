"""Train the project's own encoder on real images, for metrics: no pretrained weights needed.

Every film gives two views, shifted and with a square cut out. The encoder learns to distinguish
them from the views of other films (SimCLR, Chen et al. 2020). If there are classes, it also learns
the class. Views keep brightness, contrast, sharpness and grain: the features must depend on these.
"""

import functools
import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax.traverse_util import flatten_dict, unflatten_dict

from jaxgan.core.files import note_use, read_arrays, written_beside
from jaxgan.core.seeds import wrap_seed
from jaxgan.core.types import Array, Key, Params
from jaxgan.networks.encoder import Encoder, EncoderHeads
from jaxgan.networks.losses import softmax_cross_entropy
from jaxgan.ops.augment import cut_out, shift
from jaxgan.ops.batches import map_batches
from jaxgan.ops.pixels import scale_to_unit

VERSION = 1  # raise it when training changes, so that encoders are trained again
SIDE = 64  # larger images are averaged down to this first
ENCODER_STEPS = 250
CLASSIFIER_STEPS = 400  # from classes alone it learns more slowly
BATCH_SIZE = 32
LEARNING_RATE = 2e-3
TEMPERATURE = 0.2
RIDGE = 1.0
_PREDICT_BATCH = 64


@dataclass(frozen=True)
class TrainedEncoder:
    """Parameters, the mean [d] of activations over the training images, and the whitening."""

    params: Params
    mean: np.ndarray
    whitening: np.ndarray

    def encode(self, images: np.ndarray) -> np.ndarray:
        """Return features [n, d] of uint8 images [n, side, side, c]."""
        return (_apply_encoder(self.params, images) - self.mean) @ self.whitening


def load_or_train_encoder(
    images: np.ndarray, labels: np.ndarray, *, cache_dir: Path | None, seed: int = 0
) -> TrainedEncoder:
    """Return the encoder of these training images, trained once and saved under `cache_dir`.

    `images` is uint8 [num, side, side, c], `labels` int [num], all equal if there are no
    classes. The same images, labels and seed give the same encoder.
    """
    if cache_dir is None:
        return train_encoder(images, labels, seed=seed)
    path = cache_dir / "encoders" / f"{_compute_key(images, labels, seed)}.npz"
    kept = _read(path)
    if kept is not None:
        return kept
    encoder = train_encoder(images, labels, seed=seed)
    _write(path, encoder)
    return encoder


def train_encoder(images: np.ndarray, labels: np.ndarray, *, seed: int = 0) -> TrainedEncoder:
    """Train on uint8 images [num, side, side, c] and labels [num]."""
    params = _train(images, labels, seed=seed, num_steps=ENCODER_STEPS, with_views=True)["encoder"]
    features = _apply_encoder(params, images)
    return TrainedEncoder(params, features.mean(axis=0), compute_whitening(features))


def compute_whitening(features: np.ndarray) -> np.ndarray:
    """Return W [d, d] that makes the spread of centred features [n, d] more even.

    Raw activations all rise and fall with brightness and contrast, and these would dominate every
    distance. Full whitening is wrong too: these few images hardly vary in some directions, and
    held-out images would then be far from training images. RIDGE prevents that. It is in units of
    the variance of a standardised feature.
    """
    spread = features.std(axis=0)
    scale = np.maximum(spread, 0.05 * max(float(spread.max()), 1e-6))
    variances, directions = np.linalg.eigh(np.cov(features / scale, rowvar=False))
    return directions / np.sqrt(np.maximum(variances, 0.0) + RIDGE) / scale[:, None]


def train_classifier(
    images: np.ndarray, labels: np.ndarray, *, seed: int = 0
) -> Callable[[np.ndarray], np.ndarray]:
    """Train the same network on classes alone; return images -> labels [num]."""
    params = _train(images, labels, seed=seed, num_steps=CLASSIFIER_STEPS, with_views=False)
    predict = functools.partial(_predict, params, num_classes=int(labels.max()) + 1)
    return lambda queries: map_batches(predict, queries, _PREDICT_BATCH)


@functools.partial(jax.jit, static_argnames="num_classes")
def _predict(params: Params, batch: Array, *, num_classes: int) -> Array:
    outputs: Any = EncoderHeads(num_classes).apply({"params": params}, scale_to_unit(batch))
    return jnp.argmax(outputs[1], axis=-1)


def _train(
    images: np.ndarray, labels: np.ndarray, *, seed: int, num_steps: int, with_views: bool
) -> Params:
    num_classes = int(labels.max()) + 1
    init_key, steps_key = jax.random.split(jax.random.key(wrap_seed(seed)))
    first = scale_to_unit(jnp.asarray(images[:1]))
    params = EncoderHeads(num_classes).init(init_key, first)["params"]
    return _run_steps(
        params,
        jnp.asarray(images),
        jnp.asarray(labels),
        steps_key,
        num_classes=num_classes,
        num_steps=num_steps,
        with_views=with_views,
    )


@functools.partial(jax.jit, static_argnames=("num_classes", "num_steps", "with_views"))
def _run_steps(
    params: Params,
    images: Array,
    labels: Array,
    key: Key,
    *,
    num_classes: int,
    num_steps: int,
    with_views: bool,
) -> Params:
    """Run all steps in one dispatch; trainings of the same sizes are traced once."""
    model = EncoderHeads(num_classes)
    optimizer = optax.adam(optax.cosine_decay_schedule(LEARNING_RATE, num_steps))
    batch_size = min(BATCH_SIZE, len(images))

    def loss_fn(params: Params, chosen: Array, key: Key) -> Array:
        batch = scale_to_unit(images[chosen])
        views = jnp.concatenate([_augment(k, batch) for k in jax.random.split(key)])
        outputs: Any = model.apply({"params": params}, views)
        projections, logits = outputs
        loss = jnp.float32(0.0)
        if with_views:
            loss += compute_view_loss(projections)
        if num_classes > 1:
            both = jnp.tile(labels[chosen], 2)
            loss += jnp.mean(softmax_cross_entropy(logits=logits, labels=both))
        return loss

    def step(carry: tuple[Params, Any], step_key: Key) -> tuple[tuple[Params, Any], None]:
        params, opt_state = carry
        choice_key, view_key = jax.random.split(step_key)
        chosen = jax.random.choice(choice_key, len(images), (batch_size,), replace=False)
        gradients = jax.grad(loss_fn)(params, chosen, view_key)
        updates, opt_state = optimizer.update(gradients, opt_state, params)
        return (optax.apply_updates(params, updates), opt_state), None

    (params, _), _ = jax.lax.scan(
        step, (params, optimizer.init(params)), jax.random.split(key, num_steps)
    )
    return params


def compute_view_loss(projections: Array) -> Array:
    """Return the normalised temperature-scaled cross-entropy of [2 n, d] (SimCLR, eq. 1).

    Rows i and i + n are two views of one image; every other row is another image.
    """
    num = len(projections)
    unit = projections / (jnp.linalg.norm(projections, axis=1, keepdims=True) + 1e-6)
    similarity = unit @ unit.T / TEMPERATURE
    similarity = jnp.where(jnp.eye(num, dtype=bool), -jnp.inf, similarity)
    partners = (jnp.arange(num) + num // 2) % num
    return jnp.mean(softmax_cross_entropy(logits=similarity, labels=partners))


def _augment(key: Key, images: Array) -> Array:
    keys = jax.random.split(key, (2, len(images)))
    return jax.vmap(cut_out)(jax.vmap(shift)(images, keys[0]), keys[1])


@jax.jit
def _encode(params: Params, images: Array) -> Array:
    outputs: Any = Encoder().apply({"params": params}, scale_to_unit(images))
    return outputs[0]


def _apply_encoder(params: Params, images: np.ndarray) -> np.ndarray:
    encode = functools.partial(_encode, params)
    return map_batches(encode, images, _PREDICT_BATCH).astype(np.float64)


# The cache --------------------------------------------------------------------------------------


def _compute_key(images: np.ndarray, labels: np.ndarray, seed: int) -> str:
    digest = hashlib.sha256(repr((VERSION, images.shape, seed)).encode())
    digest.update(np.ascontiguousarray(images).tobytes())
    digest.update(np.asarray(labels, np.int64).tobytes())
    return digest.hexdigest()[:32]


def _read(path: Path) -> TrainedEncoder | None:
    """Return a saved encoder; None if there is none or the file is damaged."""
    arrays = read_arrays(path)
    if arrays is None or not {"mean", "whitening"} <= arrays.keys():
        return None
    note_use(path)
    mean, whitening = arrays.pop("mean"), arrays.pop("whitening")
    params = unflatten_dict(arrays, sep="/")
    return TrainedEncoder(params, mean, whitening)


def _write(path: Path, encoder: TrainedEncoder) -> None:
    arrays: dict[str, Any] = {
        name: np.asarray(a) for name, a in flatten_dict(encoder.params, sep="/").items()
    }
    with written_beside(path) as beside, beside.open("wb") as file:
        np.savez(file, mean=encoder.mean, whitening=encoder.whitening, **arrays)
