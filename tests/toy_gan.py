"""The least that a family of GANs needs: a mean image, then a spread, learnt in two stages."""

from dataclasses import dataclass
from functools import partial
from typing import Literal

import jax.numpy as jnp
from flax import struct

from jaxgan.devices.parallel import average
from jaxgan.gans.protocol import FamilySettings, Gan, Networks, Stage
from jaxgan.gans.two_player import draw_latents


class ToyState(struct.PyTreeNode):
    step: jnp.ndarray
    mean: jnp.ndarray
    spread: jnp.ndarray


@dataclass(frozen=True, kw_only=True)
class ToySettings(FamilySettings):
    family: Literal["toy"] = "toy"
    rate: float
    mean_epochs: int

    def create(self, num_epochs: int) -> Gan[ToyState]:
        shape, first = (self.image_size, self.image_size, self.channels), self.mean_epochs

        def create_step(field, axis_name, first_step):
            def step(state, batch, key):
                images = batch.images / 127.5 - 1.0
                apart = jnp.sqrt(average(jnp.mean((images - state.mean) ** 2), axis_name))
                rate = self.rate / (1.0 + state.step - first_step)  # by the clock of the stage
                seen = {"mean": average(images.mean(axis=0), axis_name), "spread": apart}[field]
                new = getattr(state, field) * (1.0 - rate) + rate * seen
                metrics = {"loss_d": apart, "loss_g": jnp.abs(apart - state.spread)}
                return state.replace(step=state.step + 1, **{field: new}), metrics

            return step

        def score(mean, images, given):
            return -jnp.mean((images - mean) ** 2, axis=(1, 2, 3))

        def begin(state: ToyState) -> ToyState:
            return state.replace(spread=jnp.float32(0.5))

        return Gan(
            create_state=lambda key: ToyState(jnp.int32(0), jnp.zeros(shape), jnp.float32(1.0)),
            stages=(
                Stage("mean", first, partial(create_step, "mean")),
                Stage("spread", num_epochs - first, partial(create_step, "spread"), begin),
            ),
            get_networks=lambda state: Networks((state.mean, state.spread), state.mean),
            draw_latents=lambda key, seeds: draw_latents(key, seeds, jnp.zeros(shape).size),
            generate=lambda parts, z, given: jnp.tanh(parts[0] + parts[1] * z.reshape(-1, *shape)),
            score=score,
            score_batch=score,
        )
