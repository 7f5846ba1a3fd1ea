"""Workloads on several devices, and of several models in one program."""

import jax
import jax.numpy as jnp

from jaxgan.benchmark import ours
from jaxgan.benchmark.workload import Workload
from jaxgan.devices.parallel import AXIS, choose_devices, replicate


def dcgan_train_on(*, num_devices: int, batch_size: int, width: int) -> Workload:
    """One step on several devices, each with a part of the batch; on a CPU they are virtual."""
    jax.config.update("jax_num_cpu_devices", num_devices)
    devices = choose_devices(num_devices)
    if num_devices == 1:
        return ours.dcgan_train(batch_size=batch_size, width=width)
    gan = ours.create_dcgan(width)
    step = gan.stages[0].create_step(AXIS, 0)
    compiled = jax.pmap(
        step, axis_name=AXIS, in_axes=(0, 0, None), devices=devices, donate_argnums=0
    )
    batch = ours.draw_batch(batch_size)
    parts = jax.tree.map(lambda x: x.reshape(num_devices, -1, *x.shape[1:]), batch)
    state = replicate(gan.create_state(jax.random.key(0)), devices)
    return Workload(ours.repeat(compiled, state, parts), batch_size)


def dcgan_train_together(*, num_models: int, batch_size: int, width: int) -> Workload:
    """One step of several models, vmapped into one program."""
    gan = ours.create_dcgan(width)
    states = jax.vmap(gan.create_state)(jax.random.split(jax.random.key(0), num_models))
    batches = jax.tree.map(lambda x: jnp.stack([x] * num_models), ours.draw_batch(batch_size))
    step = jax.vmap(gan.stages[0].create_step(None, 0), in_axes=(0, 0, None))
    run = ours.repeat(ours.compile_step(step), states, batches)
    return Workload(run, num_models * batch_size)


def dcgan_train_in_turn(*, num_models: int, batch_size: int, width: int) -> Workload:
    """One step of each of several models, one after another, by one program."""
    gan = ours.create_dcgan(width)
    compiled = ours.compile_step(gan.stages[0].create_step(None, 0))
    states = [gan.create_state(key) for key in jax.random.split(jax.random.key(0), num_models)]
    batch, key = ours.draw_batch(batch_size), jax.random.key(1)

    def run() -> None:
        for i, state in enumerate(states):
            states[i], metrics = compiled(state, batch, key)
            jax.block_until_ready(metrics)
        jax.block_until_ready(states)

    return Workload(run, num_models * batch_size)
