"""A UNet that remembers who shared its calls, and samples for it: for tests of the step batcher."""

import threading

import numpy as np
from patience import PATIENCE_S

from respin_ensemble.sampling import Guidance, Sample, apply_guidance, ddim, leading_schedule

SHAPE = (4, 8, 8)


def no_report(done, steps):
    pass


def noise(seed):
    return np.random.default_rng(seed).standard_normal(SHAPE, np.float32)


def sample(seed=1, steps=3, shape=SHAPE):
    generator, schedule = np.random.default_rng(seed), leading_schedule(steps)
    sampler = ddim(generator.standard_normal(shape, np.float32), schedule, eta=1.0, generator=generator)
    conditions = {"context": np.full((shape[0], 1, 1), seed, np.float32)}
    return Sample(apply_guidance(sampler, Guidance(3.0), steps), steps, shape, conditions)


class Unet:
    """Predicts noise from each sample's own latents, timestep and context; remembers who shared its calls."""

    def __init__(self):
        self.calls = []
        self.before = lambda seeds: None

    def __call__(self, spec, *, latents, timestep, guidance, context):
        seeds = context[:, 0, 0, 0].astype(int).tolist()
        self.before(seeds)
        self.calls.append(seeds)
        return {"noise": latents * timestep[..., None, None] / 1000 + context * guidance[..., None, None] / 10}


class Gate:
    """Holds every call of a UNet until it is let through, one by one."""

    def __init__(self, unet):
        self.arrived, self.through = threading.Semaphore(0), threading.Semaphore(0)
        unet.before = self.wait

    def wait(self, seeds):
        self.arrived.release()
        assert self.through.acquire(timeout=PATIENCE_S)

    def await_call(self):
        assert self.arrived.acquire(timeout=PATIENCE_S)

    def let_through(self, calls=1):
        self.through.release(calls)


def gather(groups, finished):
    """Keep what is finished, also where the end is an error."""
    for group in groups:
        finished.update(group)
    return finished


def run(batcher, samples, **options):
    """Return the clean latents by index."""
    return gather(batcher.run(samples, no_report, **options), {})
