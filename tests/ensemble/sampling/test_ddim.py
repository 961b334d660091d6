"""Schedules and DDIM, against upstream's numbers and diffusers' scheduler."""

from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import DDIMScheduler

from respin.camera import camera_shift
from respin_ensemble.sampling import ddim, ddim_step, leading_schedule, zero123_schedule
from respin_ensemble.sampling.noise_schedules import signal_shares

UPSTREAM = np.load(Path(__file__).parents[2] / "data/zero123_schedule.npz")
SHAPE = (4, 8, 8)


def noise(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(SHAPE, np.float32)


def diffusers_scheduler() -> DDIMScheduler:
    return DDIMScheduler(
        num_train_timesteps=1000,
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        clip_sample=False,
        set_alpha_to_one=False,
        steps_offset=1,
    )


def drive(path, predict):
    latents, timestep = next(path)
    while True:
        try:
            latents, timestep = path.send(predict(latents, timestep))
        except StopIteration as end:
            return end.value


@pytest.mark.parametrize("steps", [5, 50, 75])
def test_zero123_visits_the_levels_that_upstream_ran(steps):
    schedule = zero123_schedule(steps)
    assert sorted(schedule.timesteps) == sorted(UPSTREAM[f"ddim_schedule_{steps}_used"])
    kept = slice(None, len(schedule))
    np.testing.assert_allclose(schedule.alphas[::-1], UPSTREAM[f"ddim_alphas_{steps}"][kept], rtol=1e-6)
    np.testing.assert_allclose(schedule.alphas_previous[::-1], UPSTREAM[f"ddim_alphas_prev_{steps}"][kept], rtol=1e-6)


def test_seventy_five_steps_run_seventy_six_and_never_see_the_noisiest_level():
    schedule = zero123_schedule(75)
    assert (len(schedule), schedule.timesteps[0], schedule.timesteps[-1]) == (76, 976, 1)


def test_upstreams_sigmas_come_out_of_the_step_at_eta_1():
    schedule = zero123_schedule(50)
    zeros, ones = np.zeros(SHAPE, np.float32), np.ones(SHAPE, np.float32)
    sigmas = [ddim_step(zeros, zeros, schedule, at, eta=1.0, fresh=ones)[0, 0, 0] for at in range(len(schedule))]
    np.testing.assert_allclose(sigmas[::-1], UPSTREAM["ddim_sigmas_eta1_50"][: len(schedule)], rtol=1e-5)


@pytest.mark.parametrize("steps", [2, 10, 50, 250])
def test_the_background_visits_the_levels_of_diffusers(steps):
    scheduler = diffusers_scheduler()
    scheduler.set_timesteps(steps)
    assert list(leading_schedule(steps).timesteps) == scheduler.timesteps.tolist()
    np.testing.assert_allclose(signal_shares(), scheduler.alphas_cumprod.numpy(), rtol=1e-5)


@pytest.mark.parametrize("eta", [0.0, 1.0])
def test_a_whole_trajectory_is_that_of_diffusers(eta):
    def predict(latents, timestep):
        return np.tanh(latents) * np.float32(0.5 + timestep / 2000)

    ours = drive(ddim(noise(1), leading_schedule(20), eta=eta, generator=np.random.default_rng(7)), predict)
    scheduler, fresh = diffusers_scheduler(), np.random.default_rng(7)
    scheduler.set_timesteps(20)
    latents = torch.from_numpy(noise(1))
    for timestep in scheduler.timesteps:
        predicted = torch.from_numpy(predict(latents.numpy(), float(timestep)))
        variance = torch.from_numpy(fresh.standard_normal(SHAPE, np.float32)) if eta else None
        latents = scheduler.step(predicted, timestep, latents, eta=eta, variance_noise=variance).prev_sample
    assert np.abs(ours - latents.numpy()).max() <= 1e-5 * np.abs(ours).max()


def test_a_perfect_predictor_recovers_the_picture():
    picture, schedule = noise(2), zero123_schedule(50)
    alphas = dict(zip(schedule.timesteps, schedule.alphas, strict=True))

    def predict(latents, timestep):
        alpha = alphas[int(timestep)]
        return ((latents - np.sqrt(alpha) * picture) / np.sqrt(1 - alpha)).astype(np.float32)

    recovered = drive(ddim(noise(3), schedule, eta=0.0, generator=np.random.default_rng(0)), predict)
    assert np.abs(recovered - picture).max() < 0.15


def test_without_eta_no_random_number_is_drawn():
    generator = np.random.default_rng(5)
    drive(ddim(noise(1), leading_schedule(4), eta=0.0, generator=generator), lambda latents, timestep: latents)
    assert generator.standard_normal() == np.random.default_rng(5).standard_normal()


def test_upstreams_camera_pose_is_ours():
    polar, azimuth, radius = (float(number) for number in UPSTREAM["pose_deg"])
    np.testing.assert_allclose(camera_shift(azimuth, polar, radius), UPSTREAM["pose_T"].ravel(), atol=1e-6)
