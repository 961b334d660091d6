"""The solvers against diffusers' schedulers over whole trajectories, and against an ODE whose end is known."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from diffusers import DDIMScheduler, DPMSolverMultistepScheduler, EulerDiscreteScheduler, UniPCMultistepScheduler

from respin.request import SAMPLERS
from respin_ensemble.sampling import Guidance, SamplingParams, start
from respin_ensemble.sampling.noise_schedules import (
    euler_schedule,
    karras_schedule,
    linspace_schedule,
    signal_shares,
)
from respin_ensemble.sampling.samplers import SAMPLER_FACTORIES
from respin_ensemble.sampling.solvers import dpmpp_2m, euler, unipc

SHAPE = (4, 8, 8)
SD15 = DDIMScheduler(
    beta_start=0.00085,
    beta_end=0.012,
    beta_schedule="scaled_linear",
    clip_sample=False,
    set_alpha_to_one=False,
    steps_offset=1,
)
THEIRS = {
    "euler": (EulerDiscreteScheduler, {}),
    "dpmpp_2m": (DPMSolverMultistepScheduler, {}),
    "dpmpp_2m_karras": (DPMSolverMultistepScheduler, {"use_karras_sigmas": True}),
    "unipc": (UniPCMultistepScheduler, {}),
    "unipc_karras": (UniPCMultistepScheduler, {"use_karras_sigmas": True}),
}
OURS = {
    "euler": (euler, euler_schedule),
    "dpmpp_2m": (dpmpp_2m, linspace_schedule),
    "dpmpp_2m_karras": (dpmpp_2m, karras_schedule),
    "unipc": (unipc, linspace_schedule),
    "unipc_karras": (unipc, karras_schedule),
}


def noise(seed, shape=SHAPE):
    return np.random.default_rng(seed).standard_normal(shape, np.float32)


def begun(sampler, steps, latents):
    path, _ = SAMPLER_FACTORIES[sampler](latents, steps, "inpainting", 0.0, np.random.default_rng(0))
    return path


def drive(path, predict):
    """The clean latents, and every time step asked for."""
    latents, timestep = next(path)
    asked = [timestep]
    while True:
        try:
            latents, timestep = path.send(predict(latents, timestep))
        except StopIteration as end:
            return end.value, asked
        asked.append(timestep)


def wavy(latents, timestep):
    """Nonlinear in latents and time step: a wrong level, order or history gives other latents."""
    return np.tanh(latents + np.float32(np.cos(timestep / 60))) * np.float32(0.4 + timestep / 2000)


def driven_by_diffusers(sampler, steps, **options):
    kind, fixed = THEIRS[sampler]
    scheduler = kind.from_config(SD15.config, **{**fixed, **options})
    scheduler.set_timesteps(steps)
    latents = torch.from_numpy(noise(1)) * scheduler.init_noise_sigma
    for timestep in scheduler.timesteps:
        scaled = scheduler.scale_model_input(latents, timestep)
        predicted = torch.from_numpy(wavy(scaled.numpy(), float(timestep)))
        latents = scheduler.step(predicted, timestep, latents).prev_sample
    return latents.numpy(), scheduler.timesteps.tolist()


def difference(one, other):
    return np.abs(one - other).max() / np.abs(other).max()


def test_every_sampler_that_a_request_may_name_can_begin():
    assert list(SAMPLER_FACTORIES) == list(SAMPLERS) == ["ddim", *OURS]


@pytest.mark.parametrize("steps", [2, 3, 5, 10, 20, 50, 250])
@pytest.mark.parametrize("sampler", OURS)
def test_a_whole_trajectory_is_that_of_diffusers(sampler, steps):
    ours, asked = drive(begun(sampler, steps, noise(1)), wavy)
    theirs, timesteps = driven_by_diffusers(sampler, steps)
    assert asked == pytest.approx(timesteps, rel=1e-6)
    assert difference(ours, theirs) <= 1e-5


@pytest.mark.parametrize(
    ("sampler", "options"),
    [
        ("euler", {"timestep_spacing": "trailing"}),
        ("dpmpp_2m", {"timestep_spacing": "leading"}),
        ("dpmpp_2m", {"solver_order": 1}),
        ("dpmpp_2m", {"solver_type": "heun"}),
        ("dpmpp_2m_karras", {"use_karras_sigmas": False}),
        ("dpmpp_2m_karras", {"final_sigmas_type": "sigma_min"}),
        ("unipc", {"solver_order": 3}),
        ("unipc", {"disable_corrector": [7]}),
        ("unipc_karras", {"use_karras_sigmas": False}),
    ],
)
def test_another_spacing_order_or_kind_of_solver_would_be_found_out(sampler, options):
    ours, _ = drive(begun(sampler, 20, noise(1)), wavy)
    theirs, _ = driven_by_diffusers(sampler, 20, **options)
    assert difference(ours, theirs) > 1e-4


@pytest.mark.parametrize("sampler", OURS)
def test_one_coefficient_off_by_a_thousandth_would_be_found_out(sampler):
    path, levels = OURS[sampler]
    schedule = levels(20)
    alphas = list(schedule.alphas)
    alphas[10] *= 1.001
    ours, _ = drive(path(noise(1), replace(schedule, alphas=tuple(alphas))), wavy)
    theirs, _ = driven_by_diffusers(sampler, 20)
    assert difference(ours, theirs) > 1e-5


@pytest.mark.parametrize("sampler", OURS)
def test_a_perfect_predictor_recovers_the_picture(sampler):
    picture, (path, levels) = noise(2), OURS[sampler]
    schedule = levels(10)
    alphas = iter(schedule.alphas)

    def predict(latents, timestep):
        alpha = next(alphas)
        return ((latents - np.sqrt(alpha) * picture) / np.sqrt(1 - alpha)).astype(np.float32)

    recovered, _ = drive(path(noise(3), schedule), predict)
    assert np.abs(recovered - picture).max() < 1e-5


@pytest.mark.parametrize("family", ["zero123", "inpainting"])
@pytest.mark.parametrize("sampler", OURS)
def test_only_ddim_adds_noise_or_visits_other_levels_for_another_network(sampler, family):
    end, calls = finished(sampler, eta=1, seed=2, family=family)
    assert calls == 10
    np.testing.assert_array_equal(end, finished(sampler, eta=0, seed=1, family="inpainting")[0])


def test_ddim_does_add_noise_and_visits_other_levels_for_zero123():
    end, calls = finished("ddim", eta=1, seed=1, family="zero123")
    assert calls == 9
    assert difference(end, finished("ddim", eta=1, seed=2, family="zero123")[0]) > 0.1
    other, calls = finished("ddim", eta=1, seed=1, family="inpainting")
    assert calls == 10
    assert difference(end, other) > 0.1


def finished(sampler, *, eta, seed, family):
    generator = np.random.default_rng(seed)
    sample = start(SamplingParams(sampler, 10, Guidance(1), eta), noise(1), {}, family=family, generator=generator)
    trajectory, calls = sample.trajectory, sample.steps
    asked = next(trajectory)
    for _ in range(calls - 1):
        asked = trajectory.send(wavy(asked.latents, asked.timestep))
    with pytest.raises(StopIteration) as end:
        trajectory.send(wavy(asked.latents, asked.timestep))
    return end.value.value, calls


class TwoHills:
    """The best noise predictor for pixels that are about 1 or about -1, whose probability-flow ODE has a known end.

    One-dimensional flows keep the order of points: where noise ends is the point of the same rank among the pixels.
    """

    CENTRE, WIDTH = 1.0, 0.3

    def __init__(self):
        self.sigmas = np.sqrt((1 - signal_shares()) / signal_shares())

    def __call__(self, latents, timestep):
        sigma = np.exp(np.interp(timestep, np.arange(1000), np.log(self.sigmas)))
        alpha = 1 / (1 + sigma**2)
        centre, variance = np.sqrt(alpha) * self.CENTRE, alpha * self.WIDTH**2 + 1 - alpha
        mean = centre * np.tanh(centre * latents.astype(np.float64) / variance)
        return (np.sqrt(1 - alpha) * (latents - mean) / variance).astype(np.float32)

    def end(self, latents):
        rank, low, high = self.rank(latents, signal_shares()[-1]), np.full(SHAPE, -9.0), np.full(SHAPE, 9.0)
        for _ in range(50):
            middle = (low + high) / 2
            below = self.rank(middle, 1) < rank
            low, high = np.where(below, middle, low), np.where(below, high, middle)
        return low

    def rank(self, pixels, alpha):
        centre, width = np.sqrt(alpha) * self.CENTRE, np.sqrt(alpha * self.WIDTH**2 + 1 - alpha)
        below = [torch.special.ndtr(torch.tensor((pixels + side * centre) / width)).numpy() for side in (1, -1)]
        return (below[0] + below[1]) / 2


def error_of(sampler, steps):
    """Root mean square over several noises of what is missing to the ODE's end; the pixels' own is about 1."""
    hills = TwoHills()
    missing = [drive(begun(sampler, steps, noise(seed)), hills)[0] - hills.end(noise(seed)) for seed in range(8)]
    return np.sqrt(np.mean(np.square(missing)))


@pytest.mark.parametrize("sampler", ["dpmpp_2m_karras", "unipc_karras"])
def test_twenty_steps_on_karras_levels_come_as_close_as_a_hundred_of_ddim(sampler):
    assert error_of(sampler, 20) <= error_of("ddim", 100) < 0.5 * error_of("ddim", 40)


@pytest.mark.parametrize("sampler", ["dpmpp_2m", "unipc"])
def test_twenty_steps_on_evenly_spaced_levels_are_no_closer_than_ddims(sampler):
    assert error_of(sampler, 20) > error_of("ddim", 20) > 3 * error_of(f"{sampler}_karras", 20)


@pytest.mark.parametrize(("sampler", "order"), [("euler", 1), ("dpmpp_2m_karras", 2), ("unipc_karras", 2)])
def test_twice_the_steps_leave_the_error_that_the_order_promises(sampler, order):
    gained = error_of(sampler, 10) / error_of(sampler, 20)
    assert 1.7**order < gained
