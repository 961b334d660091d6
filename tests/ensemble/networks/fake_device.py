"""A device and networks that hold none of its memory but count it, and calls that last until a test ends them."""

import threading


class Device:
    """Adds up the memory that networks hold, and remembers the most."""

    def __init__(self):
        self.held = self.most = 0
        self.log = []
        self.failing = set()
        self.real_room = float("inf")

    def change(self, what, name, more):
        self.held += more
        self.most = max(self.most, self.held)
        self.log.append(f"{what} {name}")


class FakeNetwork:
    def __init__(self, device, name, size):
        self.device, self.name, self.size, self.holds = device, name, size, 0

    def load(self):
        assert self.holds == 0
        self.holds = self.size
        self.device.change("load", self.name, self.size)
        if self.name in self.device.failing:
            raise OSError("model.onnx: no such file")
        if self.device.held > self.device.real_room:
            raise RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB")

    def unload(self):
        self.device.change("unload", self.name, -self.holds)
        self.holds = 0


class Call:
    """A call in a thread of its own, which lasts until it is ended."""

    def __init__(self, residency, name, check=lambda: None):
        self._residency, self._name, self._check = residency, name, check
        self._end = threading.Event()
        self.begun, self.error = threading.Event(), None
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self):
        try:
            with self._residency.use(self._name, self._check):
                self.begun.set()
                assert self._end.wait(20)
        except Exception as error:
            self.error = error

    def end(self):
        self._end.set()
        self._thread.join(20)
        assert not self._thread.is_alive()
