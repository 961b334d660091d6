"""The agreement by which a launcher lets the engine finish its jobs before it stops the server.

Triton refuses the calls of a running job once it is stopping, so the jobs have to be finished before.
The launcher creates a file; the engine then takes no more jobs, and removes the file when none is left.
"""

DRAIN_FILE_VARIABLE = "RESPIN_DRAIN_FILE"
"""Environment variable with the path of the file; unset = the server is stopped without waiting for its jobs."""

HEARTBEAT_FILE_VARIABLE = "RESPIN_HEARTBEAT_FILE"
"""Environment variable with the path of a file that the engine touches twice a second, so that the launcher notices
an engine that hangs; unset = the engine touches no file."""
