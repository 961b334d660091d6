"""Run a command that is killed when its launcher ends: `python die_with_parent.py <launcher pid> <command>`.

Linux can send a process a signal when its parent ends, but the process has to ask for it itself. It is SIGKILL: a
server without a launcher has nobody left who would end a stop that hangs. A stub that is busy then ends by itself,
after the call that it is in.
"""

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1  # prctl(2)


def main() -> None:
    """Ask for the signal, then become the command."""
    launcher_pid, command = int(sys.argv[1]), sys.argv[2:]
    if ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL) != 0:
        sys.exit(f"prctl failed: {os.strerror(ctypes.get_errno())}")
    # The launcher may have died before the signal was asked for.
    if os.getppid() != launcher_pid:
        sys.exit("the launcher is gone")
    os.execv(command[0], command)


if __name__ == "__main__":
    main()
