"""Jobs of one view and of twelve on networks that only take their time, as long as on an H200: what runs beside what.

    python tests/ensemble/pipeline/timed_job.py [--roomy] [--together] [--slower 8]

Durations are those of benchmarks/results/networks_cuda.csv, of torch.compile's code where it is served; networks of one
lane run one after another, as in `respin_ensemble.networks.torch_lanes`, and lanes do not slow each other down, which
on a GPU they do. Pictures are small, so the machine's own work is next to nothing. Everything takes `--slower` times as
long, lest a busy machine counts, and is printed as if it did not.
"""

from __future__ import annotations

import argparse
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

# The fake networks are in the folder above.
sys.path.insert(0, str(Path(__file__).parents[1]))

from conftest import FakeNetworks
from small_jobs import request_for

from respin_ensemble.batching.batchers import StepBatchers
from respin_ensemble.networks.torch_lanes import group_by_lane
from respin_ensemble.pipeline.context import JobContext
from respin_ensemble.pipeline.finishing import FinishingTime
from respin_ensemble.pipeline.rotate_object import rotate_object
from respin_ensemble.stages.novel_view import CameraProjection

MS_BY_BATCH = {"zero123_unet": {1: 4.37, 4: 6.41, 8: 9.32}, "inpaint_unet": {1: 7.74}}
MS_OF_A_SAMPLE = {
    "grounding_dino": 35.0,
    "sam_encoder": 13.1,
    "sam_decoder": 1.3,
    "clip_vision": 2.2,
    "vae_encoder": 4.2,
    "vae_decoder": 3.0,
    "edsr": 14.0,
    "clip_text": 1.1,
}
VIEWS = (1, 12, 12, 1, 12)
"""Views of the jobs, one after another: the first measures what later ones go by."""


def call_ms(name, samples):
    """Return how long a call takes, ms."""
    if name in MS_OF_A_SAMPLE:
        return MS_OF_A_SAMPLE[name] * samples
    known = MS_BY_BATCH[name]
    return float(np.interp(samples, list(known), list(known.values())))


def timed(networks, *, roomy, slower):
    """Let the networks take their time; return a list of (name, samples, begin, end) of their calls, seconds."""
    lanes = {name: lock for names in group_by_lane(roomy=roomy) for lock in [threading.Lock()] for name in names}
    calls, answer = [], networks._run

    def run(spec, arrays):
        samples = len(next(iter(arrays.values())))
        with lanes[spec.name]:
            began_s = time.perf_counter()
            time.sleep(call_ms(spec.name, samples) * slower / 1000)
            calls.append((spec.name, samples, began_s, time.perf_counter()))
        return answer(spec, arrays)

    networks._run = run
    return calls


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--roomy", action="store_true", help="GroundingDINO has a lane of its own")
    parser.add_argument("--together", action="store_true", help="views end together: how long they take to finish is 0")
    parser.add_argument("--slower", type=float, default=8)
    given = parser.parse_args()
    networks = FakeNetworks()
    calls = timed(networks, roomy=given.roomy, slower=given.slower)
    with StepBatchers(networks) as batchers, ThreadPoolExecutor(2) as executor:
        finishing = FinishingTime(lambda: 0.0) if given.together else FinishingTime()
        context = JobContext(networks, batchers, executor, CameraProjection(networks), finishing=finishing)
        for views in VIEWS:
            calls.clear()
            began_s, done = time.perf_counter(), []

            def ms(at_s, began_s=began_s):
                return round((at_s - began_s) * 1000 / given.slower)

            def report(event, done=done, ms=ms):
                if "image" in event.results:
                    done.append(ms(time.perf_counter()))

            moves = {"azimuth": [30.0 + view for view in range(views)], "polar": [0.0] * views}
            rotate_object(context, request_for(**moves, steps=75, background_steps=50), report)
            steps = [call for call in calls if call[0] == "zero123_unet"]
            print(
                f"{views} views: {ms(time.perf_counter())} ms; {len(steps)} calls of Zero123's UNet, from "
                f"{ms(steps[0][2])} to {ms(steps[-1][3])} ms; views done at {', '.join(map(str, done))} ms"
            )


if __name__ == "__main__":
    main()
