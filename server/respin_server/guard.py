"""Clean up after a launcher that was killed: `python guard.py <prefix of regions> <folder>`.

Reads the server's process group from standard input, one number a line, the last one counts; 0 = none. The end of the
launcher, however it ends, closes that pipe: the group is then killed, with stubs that hang or are stopped, and regions
and folder are removed. Standard library only: it runs outside the Python environment.
"""

import contextlib
import os
import shutil
import signal
import sys
from pathlib import Path


def main() -> None:
    """Wait for the launcher's end, then clean up."""
    prefix, folder = sys.argv[1:]
    group = 0
    for line in sys.stdin:
        group = int(line)
    if group:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(group, signal.SIGKILL)
        # The launcher is dead, so that all its folders are left over: respin_<pid>_<namespace>_...
        owner = "_".join(prefix.split("_")[:3])
        for left in Path(folder).parent.glob(f"{owner}_*"):
            shutil.rmtree(left, ignore_errors=True)
    for region in Path("/dev/shm").glob(f"{prefix}*"):
        region.unlink(missing_ok=True)
    shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
