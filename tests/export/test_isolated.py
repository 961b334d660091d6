from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
PARENT = """
from isolated_tasks import wait_for_the_end
from respin_export.isolated import run_isolated
if __name__ == "__main__":
    for event in run_isolated({"task": wait_for_the_end}, 1):
        print(event.stage, flush=True)
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_task_ends_with_the_process_that_started_it(tmp_path, number):
    script = tmp_path / "parent.py"
    script.write_text(PARENT)
    environment = {**os.environ, "PYTHONPATH": str(TESTS)}
    with subprocess.Popen([sys.executable, script], stdout=subprocess.PIPE, text=True, env=environment) as parent:
        task = int(parent.stdout.readline())
        parent.send_signal(number)

    assert has_ended(task, within_s=60)


def has_ended(pid: int, within_s: float) -> bool:
    """Whether a process whose parent has ended ends, too, within some seconds."""
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline:
        try:
            if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
                return True
        except (FileNotFoundError, ProcessLookupError):
            return True
        time.sleep(0.05)
    return False
