"""One training step of a GAN, as a pure function of state, batch and key.

The order is that of the listing in section 4.1: D learns from a real and a fake mini-batch (two
passes, so that batch norm sees each separately), then G learns from the same fakes through the
updated D. The fakes are made once, and the pullback of that pass gives the gradient of G.
"""

import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax
from flax import struct

from jaxgan.core.types import Array, Batch, Key, Metrics, Params
from jaxgan.devices.parallel import average, compute_whole_batch_size, take_part
from jaxgan.gans.objectives import Objective
from jaxgan.gans.penalties import lecam_penalty
from jaxgan.networks.state import NetworkState, apply_gradients, create_network_state
from jaxgan.ops.pixels import scale_to_unit

AugmentFn = Callable[[Array, Key, Array], Array]
PenaltyFn = Callable[[Callable[[Array], Array], Array, Array, Key], Array]
SeeFn = Callable[[Params, Array], Any]
LecamFn = Callable[[Array, Array], tuple[Array, Array]]
Shape = tuple[int, int, int]
# D, its variables, real images, labels and a key: D's logits, its new statistics, a loss [batch].
SuperviseFn = Callable[[nn.Module, Params, Array, Array, Key], tuple[Array, Params, Array]]
OwnLossFn = Callable[[Params], tuple[Array, Params, Array]]
Pullback = Callable[[Array], tuple[Params]]

# The metrics that are the moving averages of `Lecam`.
_AVERAGES = ("d_real_logit_average", "d_fake_logit_average")


class Adaptation(NamedTuple):
    """Adaptive augmentation (Karras et al. 2020, section 3): stronger while D overfits.

    D's overfitting is the mean sign of its logits on real images: 0 when it guesses, 1 when it
    knows every one. The strength goes from 0 to 1, or back, in `ramp_images` images.
    """

    target: float
    ramp_images: int

    def adapt(self, strength: Array, sign: Array, batch_size: int) -> Array:
        """Return the next step's strength, a step towards the target's `sign`."""
        change = jnp.sign(sign - self.target) * (batch_size / self.ramp_images)
        return jnp.clip(strength + change, 0.0, 1.0)


class Lecam(NamedTuple):
    """LeCam regularisation (Tseng et al. 2021): D's logits stay near their moving averages.

    `weight` is that of `penalties.lecam_penalty` in D's loss.
    """

    weight: float
    decay: float = 0.99

    def follow(self, averages: Array, logits: Array, step: Array) -> Array:
        """Return the averages [2] of real and fake logits after the means [2] of step 0, 1, ...

        They are exponential moving averages without a bias to where they begin: every earlier mean
        counts `decay` times as much as the next one, and the shares add up to 1.
        """
        share = (1.0 - self.decay) / (1.0 - self.decay ** (step + 1))
        return averages + share * (logits - averages)

    def regularise(
        self, follow: Callable[[Array], Array], axis_name: str | None, real: Array, fake: Array
    ) -> tuple[Array, Array]:
        """Return the term of D's loss for these logits, each [batch], and the new averages [2]."""
        means = jax.lax.stop_gradient(jnp.stack([jnp.mean(real), jnp.mean(fake)]))
        averages = follow(average(means, axis_name))
        distances = lecam_penalty(
            real_logits=real, fake_logits=fake, real_average=averages[0], fake_average=averages[1]
        )
        return self.weight * jnp.mean(distances), averages


class Player(NamedTuple):
    """A network and how it learns."""

    network: nn.Module
    optimizer: optax.GradientTransformation


class Recipe(NamedTuple):
    """How two players learn from one another.

    `augment_fn` augments all input of D: real, generated and G's images, and those of `penalty_fn`.
    With `num_critic_steps` n above 1, G is updated only in every n-th step. In the other steps its
    statistics and the moving average do not change either, so `ema_decay` counts updates of G.
    `supervise_fn` takes D's pass over the augmented real images, and adds a loss to D's own.

    `see_fn` maps D's statistics and augmented images to the input of D's network, if that is not
    the images. Nothing in it learns. As it may cost more than D, it sees each batch once: G then
    learns from the same augmented images as D.
    """

    objective: Objective
    augment_fn: AugmentFn
    latent_size: int
    ema_decay: float
    penalty_fn: PenaltyFn | None = None
    num_critic_steps: int = 1
    adaptation: Adaptation | None = None
    lecam: Lecam | None = None
    see_fn: SeeFn | None = None
    supervise_fn: SuperviseFn | None = None


class GanState(struct.PyTreeNode):
    """Both networks, and the moving average of the generator's variables if one is used.

    `augment_strength` is the chance of every change that augmentation makes to an image.
    `logit_averages` [2] are those of `Lecam`, of real and generated images, if it is used.
    """

    step: Array
    generator: NetworkState
    discriminator: NetworkState
    ema: Params | None
    augment_strength: Array
    logit_averages: Array | None = None

    @property
    def sampling_variables(self) -> Params:
        """The variables to sample from: the moving average if there is one."""
        return self.generator.variables if self.ema is None else self.ema


def create_gan_state(
    key: Key,
    *,
    generator: Player,
    discriminator: Player,
    latent_size: int,
    image_shape: Shape | tuple[Shape, ...],
    keep_ema: bool,
    augment_strength: float = 1.0,
    keep_logit_averages: bool = False,
) -> GanState:
    """Draw both networks' parameters.

    `image_shape` is [height, width, channels] of D's input, or a shape for each of several maps.
    """
    generator_key, discriminator_key = jax.random.split(key)
    example = functools.partial(jax.ShapeDtypeStruct, dtype=jnp.result_type(float))
    seen = jax.tree.map(
        lambda shape: example((1, *shape)), image_shape, is_leaf=lambda x: isinstance(x[0], int)
    )
    labels = jax.ShapeDtypeStruct((1,), jnp.int32)
    generator_state = create_network_state(
        generator_key, *generator, example((1, latent_size)), labels
    )
    discriminator_state = create_network_state(
        discriminator_key,
        *discriminator,
        seen,
        labels,
    )
    ema = _copy(generator_state.variables) if keep_ema else None
    strength = jnp.float32(augment_strength)
    averages = jnp.zeros(2) if keep_logit_averages else None
    return GanState(jnp.int32(0), generator_state, discriminator_state, ema, strength, averages)


@jax.jit
def _copy(tree: Params) -> Params:
    return jax.tree.map(jnp.copy, tree)


def train_step(
    state: GanState,
    batch: Batch,
    key: Key,
    *,
    generator: Player,
    discriminator: Player,
    recipe: Recipe,
    axis_name: str | None = None,
) -> tuple[GanState, Metrics]:
    """Update D, then G through the updated D, on this device's part of the batch.

    Metrics are means over the whole batch, and `first_fake` [height, width, channels]: the first
    image that G made in this step. The listing's acceptance rule uses it.
    """
    num_critic_steps = recipe.num_critic_steps
    is_due = None if num_critic_steps == 1 else (state.step + 1) % num_critic_steps == 0
    batch_size = compute_whole_batch_size(batch.images.shape[0], axis_name)
    latent_key, real_key, fake_key, generator_key = jax.random.split(key, 4)
    latents = jax.random.normal(latent_key, (batch_size, recipe.latent_size))

    def split(key: Key) -> Key:
        return take_part(jax.random.split(key, batch_size), axis_name)

    def see(images: Array, key: Key) -> Any:
        """Return the input of D's network for augmented images."""
        augmented = recipe.augment_fn(images, split(key), state.augment_strength)
        if recipe.see_fn is None:
            return augmented
        return recipe.see_fn(state.discriminator.batch_stats, augmented)

    # Fakes have the classes of the real images, so D sees each class equally often in both.
    labels = batch.labels
    dropout_keys = jax.random.split(jax.random.fold_in(key, 5), 4)
    fake, pullback, generator_stats = _generate(
        state.generator,
        take_part(latents, axis_name),
        labels,
        generator.network,
        dropout_keys[3],
    )
    lecam_fn = None
    if recipe.lecam is not None:
        assert state.logit_averages is not None
        follow = functools.partial(recipe.lecam.follow, state.logit_averages, step=state.step)
        lecam_fn = functools.partial(recipe.lecam.regularise, follow, axis_name)
    real = scale_to_unit(batch.images)
    seen_real = see(real, real_key)
    judged: Any = fake
    pull = pullback
    if recipe.see_fn is None:
        seen = see(fake, fake_key)
    else:
        seen, pull_seen = jax.vjp(functools.partial(see, key=fake_key), fake)
        judged, pull = seen, lambda seen: pullback(*pull_seen(seen))
    own_loss_fn = None
    if recipe.supervise_fn is not None:
        own_key, supervise_fn = jax.random.fold_in(key, 7), recipe.supervise_fn

        def own_loss_fn(variables: Params) -> tuple[Array, Params, Array]:
            return supervise_fn(discriminator.network, variables, seen_real, labels, own_key)

    new_discriminator, discriminator_metrics = update_discriminator(
        state.discriminator,
        real=seen_real,
        fake=seen,
        labels=labels,
        discriminator=discriminator,
        objective=recipe.objective,
        penalty_fn=recipe.penalty_fn,
        penalty_keys=None if recipe.penalty_fn is None else split(jax.random.fold_in(key, 4)),
        dropout_keys=dropout_keys[:2],
        lecam_fn=lecam_fn,
        own_loss_fn=own_loss_fn,
        axis_name=axis_name,
    )

    def score(seen: Any, dropout_key: Key) -> Array:
        variables = new_discriminator.variables
        return _discriminate(discriminator.network, variables, seen, labels, dropout_key)[0]

    def score_judged(judged: Any) -> Array:
        is_image = recipe.see_fn is None
        return score(see(judged, generator_key) if is_image else judged, dropout_keys[2])

    real_logits = None
    if recipe.objective.is_relativistic:
        augment_key, dropout_key = jax.random.split(jax.random.fold_in(key, 6))
        real_logits = score(see(real, augment_key), dropout_key)
    new_generator, generator_metrics = update_generator(
        state.generator,
        fake=judged,
        pullback=pull,
        batch_stats=generator_stats,
        score_fn=score_judged,
        real_logits=real_logits,
        objective=recipe.objective,
        optimizer=generator.optimizer,
        is_due=is_due,
        axis_name=axis_name,
    )
    metrics = average({**discriminator_metrics, **generator_metrics}, axis_name)
    strength = state.augment_strength
    if recipe.adaptation is not None:
        strength = recipe.adaptation.adapt(strength, metrics["d_real_sign"], batch_size)
        metrics["augment_strength"] = strength
    averages = state.logit_averages
    if recipe.lecam is not None:
        averages = jnp.stack([metrics[name] for name in _AVERAGES])
    new_state = GanState(
        step=state.step + 1,
        generator=new_generator,
        discriminator=new_discriminator,
        ema=_update_ema(state.ema, new_generator.variables, recipe.ema_decay, is_due),
        augment_strength=strength,
        logit_averages=averages,
    )
    return new_state, {**metrics, "first_fake": fake[0]}


def _generate(
    state: NetworkState, latents: Array, labels: Array, generator: nn.Module, dropout_key: Key
) -> tuple[Array, Pullback, Params]:
    """Return fakes, the pullback to the parameters' cotangent, and the new statistics."""

    def apply(params: Params) -> tuple[Array, Params]:
        variables = {"params": params, "batch_stats": state.batch_stats}
        images, updates = generator.apply(
            variables,
            latents,
            labels,
            train=True,
            mutable=["batch_stats"],
            rngs={"dropout": dropout_key},
        )
        return images, updates.get("batch_stats", {})

    return jax.vjp(apply, state.params, has_aux=True)


def _discriminate(
    network: nn.Module, variables: Params, images: Array, labels: Array, key: Key | None
) -> tuple[Array, Params]:
    """Return D's logits [batch] in training mode, and its new statistics."""
    logits, updates = network.apply(
        variables,
        images,
        labels,
        train=True,
        mutable=["batch_stats"],
        rngs=None if key is None else {"dropout": key},
    )
    return logits, updates.get("batch_stats", {})


def update_discriminator(
    state: NetworkState,
    *,
    real: Array,
    fake: Array,
    labels: Array,
    discriminator: Player,
    objective: Objective,
    penalty_fn: PenaltyFn | None = None,
    penalty_keys: Key | None = None,
    dropout_keys: Sequence[Key | None] | Key = (None, None),
    lecam_fn: LecamFn | None = None,
    own_loss_fn: OwnLossFn | None = None,
    axis_name: str | None = None,
) -> tuple[NetworkState, Metrics]:
    """Descend the objective's loss of D on images [batch, height, width, channels] in [-1, 1].

    The `labels` [batch] are those of both the real and the generated images. With `objective`
    non-saturating or saturating, the loss is the negative of eq. 2. The `dropout_keys` are for the
    real and for the generated images, if D has dropout. `lecam_fn` maps both logits
    to a term of the loss and to their averages, which become metrics. `own_loss_fn` makes the pass
    over the real images from D's variables. Its loss [batch] becomes a metric too.
    """
    network = discriminator.network

    def loss_fn(params: Params) -> tuple[Array, tuple[Params, Metrics]]:
        stats = state.batch_stats
        logits, own_loss = [], None
        for i, images in enumerate((real, jax.lax.stop_gradient(fake))):
            variables = {"params": params, "batch_stats": stats}
            if i == 0 and own_loss_fn is not None:
                scores, stats, own_loss = own_loss_fn(variables)
            else:
                scores, stats = _discriminate(network, variables, images, labels, dropout_keys[i])
            logits.append(scores)
        real_loss, fake_loss = objective.discriminator_loss(
            real_logits=logits[0], fake_logits=logits[1]
        )
        metrics = {
            "loss_d_real": jnp.mean(real_loss),
            "loss_d_fake": jnp.mean(fake_loss),
            f"{objective.score_name}_real": jnp.mean(objective.score(logits[0])),
            f"{objective.score_name}_fake": jnp.mean(objective.score(logits[1])),
            "d_real_sign": jnp.mean(jnp.sign(logits[0])),
        }
        metrics["loss_d"] = metrics["loss_d_real"] + metrics["loss_d_fake"]
        loss = metrics["loss_d"]
        if own_loss is not None:
            metrics["supervision"] = jnp.mean(own_loss)
            loss = loss + metrics["supervision"]
        if lecam_fn is not None:
            metrics["lecam"], averages = lecam_fn(*logits)
            metrics |= dict(zip(_AVERAGES, averages, strict=True))
            loss = loss + metrics["lecam"]
        if penalty_fn is None:
            return loss, (stats, metrics)

        def score(images: Array) -> Array:
            variables = {"params": params, "batch_stats": state.batch_stats}
            return _discriminate(network, variables, images, labels, dropout_keys[0])[0]

        assert penalty_keys is not None
        fakes = jax.lax.stop_gradient(fake)
        metrics["penalty"] = jnp.mean(penalty_fn(score, real, fakes, penalty_keys))
        return loss + metrics["penalty"], (stats, metrics)

    gradients, (stats, metrics) = jax.grad(loss_fn, has_aux=True)(state.params)
    optimizer = discriminator.optimizer
    return apply_gradients(state, gradients, stats, optimizer, axis_name), metrics


def update_generator(
    state: NetworkState,
    *,
    fake: Array,
    pullback: Pullback,
    batch_stats: Params,
    score_fn: Callable[[Array], Array],
    objective: Objective,
    optimizer: optax.GradientTransformation,
    real_logits: Array | None = None,
    is_due: Array | None = None,
    axis_name: str | None = None,
) -> tuple[NetworkState, Metrics]:
    """Descend the generator's loss on `score_fn(fake)`, the logits of the *updated* D.

    `batch_stats` are G's statistics after this step's forward pass. D's statistics do not change
    here. They do in PyTorch's listing, but no part of the paper's method reads them. With `is_due`
    false, only the metrics are computed and G does not change. A relativistic `objective` needs
    `real_logits` [batch], the updated D's logits of the real images.
    """
    of_real = {} if real_logits is None else {"real_logits": real_logits}

    def mean_loss(images: Array) -> tuple[Array, Array]:
        logits = score_fn(images)
        return jnp.mean(objective.generator_loss(fake_logits=logits, **of_real)), logits

    def update() -> tuple[NetworkState, tuple[Array, Array]]:
        loss_and_logits, cotangent = jax.value_and_grad(mean_loss, has_aux=True)(fake)
        (gradients,) = pullback(cotangent)
        new = apply_gradients(state, gradients, batch_stats, optimizer, axis_name)
        return new, loss_and_logits

    if is_due is None:
        new_state, (loss, logits) = update()
    else:
        new_state, (loss, logits) = jax.lax.cond(is_due, update, lambda: (state, mean_loss(fake)))
    score = jnp.mean(objective.score(logits))
    return new_state, {"loss_g": loss, f"{objective.score_name}_fake_after": score}


def _update_ema(
    ema: Params | None, variables: Params, decay: float, is_due: Array | None
) -> Params | None:
    if ema is None:
        return None
    moved = jax.tree.map(lambda old, new: decay * old + (1.0 - decay) * new, ema, variables)
    if is_due is None:
        return moved
    return jax.tree.map(lambda old, new: jnp.where(is_due, new, old), ema, moved)


@functools.partial(jax.jit, static_argnames="latent_size")
def draw_latents(key: Key, seeds: Array, latent_size: int) -> Array:
    """Return latents [num, latent_size]; each depends only on its own seed [num]."""
    return jax.vmap(lambda seed: jax.random.normal(jax.random.fold_in(key, seed), (latent_size,)))(
        seeds
    )


@functools.partial(jax.jit, static_argnames="latent_size")
def draw_truncated(key: Key, seeds: Array, truncation: float, latent_size: int) -> Array:
    """Return latents [num, latent_size] whose values stay within 2 * `truncation` of 0.

    They are normal, and values beyond are drawn again (Brock et al. 2019, the truncation trick;
    their widest threshold, 2, is that of truncation 1). The inverse of the distribution function
    does that in one draw. It takes the same random bits as `draw_latents`, so the latent of a seed
    is the same one, nearer to 0. Karras et al. 2019 shrink a latent towards a mean instead. But
    theirs are the output of a mapping network, and have a mean that is learned. These have none,
    and a shrunk normal is narrower everywhere. A cut one keeps within its bounds the distribution
    that the generator has learned from.
    """
    bound = 2.0 * truncation

    def draw(seed: Array) -> Array:
        return jax.random.truncated_normal(
            jax.random.fold_in(key, seed), -bound, bound, (latent_size,)
        )

    return jax.vmap(draw)(seeds)
