"""Parameters of calls within the server, under names that no client can send.

Triton's gRPC and HTTP frontends refuse parameters that begin with `triton_`, except in the requests of HTTP's
`generate`. So the names hold a key as well: the processes of one server derive it from the kernel's random boot id and
from the server's process, and no client learns either.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

ENABLE_EMPTY_FINAL_RESPONSE = "triton_enable_empty_final_response"
"""The one reserved parameter that Triton lets clients send; it is for Triton itself."""


def _server_key() -> str:
    boot_id = Path("/proc/sys/kernel/random/boot_id").read_bytes()
    server = os.getppid()
    # Field 22, the start time; the name, in parentheses, may hold spaces (proc(5)).
    started = Path(f"/proc/{server}/stat").read_bytes().rpartition(b")")[2].split()[19]
    return hashlib.sha256(b"%s %d %s" % (boot_id, server, started)).hexdigest()[:16]


JOB, IN_BAND, CANCEL, ALIVE = (
    f"triton_respin_{_server_key()}_{name}" for name in ("job", "in_band", "cancel", "alive")
)
"""Names of the parameters: the job's name; errors as data; the jobs to cancel; the job whose status is asked for."""

SEPARATOR = ","
"""Separator of the names of several jobs."""

INTERNAL_PARAMETERS = frozenset((JOB, IN_BAND, CANCEL, ALIVE))
