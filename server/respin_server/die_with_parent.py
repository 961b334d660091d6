"""Run a command that is killed when its launcher ends: `python die_with_parent.py <launcher pid> <command>`.

Linux can send a process a signal when its parent ends, but the process has to request it itself. It is SIGKILL, because
without a launcher nothing would end a shutdown that hangs. A busy stub then ends by itself, after its current call.
"""

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1  # prctl(2)


def main() -> None:
    """Request the signal, then become the command."""
    launcher_pid, command = int(sys.argv[1]), sys.argv[2:]
    if ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL) != 0:
        sys.exit(f"prctl failed: {os.strerror(ctypes.get_errno())}")
    # The launcher may have ended before the signal was requested.
    if os.getppid() != launcher_pid:
        sys.exit("the launcher has ended")
    # Photos are in the regions in /dev/shm, and names of files in the log: for this user only.
    os.umask(0o077)
    os.execv(command[0], command)


if __name__ == "__main__":
    main()
