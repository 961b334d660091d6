"""Whole jobs in process, with simple networks."""

from concurrent.futures import ThreadPoolExecutor

import pytest
from small_jobs import Listener

from respin_ensemble.pipeline.context import JobContext
from respin_ensemble.pipeline.rotate_object import rotate_object
from respin_ensemble.stages.novel_view import CameraProjection


@pytest.fixture
def executor():
    with ThreadPoolExecutor(2) as threads:
        yield threads


@pytest.fixture
def context(networks, batchers, executor):
    return JobContext(networks, batchers, executor, CameraProjection(networks))


@pytest.fixture
def run_job(context):
    def run(request):
        listener = Listener()
        rotate_object(context, request, listener)
        return listener

    return run
