"""The health check of a container: a real job on a server, as small as a job can be.

    python -m respin_client.canary

A server whose models are loaded may still be unable to do its work, so the check turns an object with every network.
RESPIN_URL names the server; the exit status is 0 if it is healthy, else 1.
"""

from __future__ import annotations

import os
import secrets
import sys
from collections.abc import Mapping

from respin.bundled import bundled_path
from respin.errors import Busy, InternalError, RespinError
from respin_client.client import Client
from respin_client.photos import request_from_photo

DEFAULT_URL = "127.0.0.1:8001"
"""Address of Triton's gRPC port on this machine."""

TIMEOUT_S = 50.0
"""Deadline of the job; a health check of Docker's has one too, which is a little longer."""

_BOX = (165.0, 12.0, 428.0, 312.0)
"""Box of the cup in the example photo, (x0, y0, x1, y1) px."""


def check_job(client: Client) -> str:
    """Turn the cup of the example photo, with another seed each time, so that nothing is answered from a cache.

    Returns:
        a sentence about a healthy server: it did the job, or it is at a limit with all its models ready.

    Raises:
        RespinError: the server did not do the job.
    """
    photo = bundled_path("examples") / "coffee.png"
    request = request_from_photo(
        photo,
        "coffee cup",
        azimuth=30,
        box=_BOX,
        steps=2,
        background_steps=2,
        seed=secrets.randbelow(2**31),
        priority="high",
    )
    try:
        views = client.rotate_object(request).image
    except Busy as error:
        if client.is_ready():
            return f"busy: {error}"
        raise
    if not views:
        raise InternalError("the server answered without a picture; its log has the details")
    return "healthy: the server turned an object"


def main(environment: Mapping[str, str] = os.environ) -> int:
    """Check a server, say the result, and return the exit status."""
    try:
        with Client(environment.get("RESPIN_URL") or DEFAULT_URL, timeout_s=TIMEOUT_S, retries=0) as client:
            print(check_job(client))
    except RespinError as error:
        print(f"unhealthy: {error}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
