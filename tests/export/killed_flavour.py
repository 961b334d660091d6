"""A TensorRT whose import kills its process, as the kernel does when memory runs out."""

import os
import signal

os.kill(os.getpid(), signal.SIGKILL)
