"""Small requests, and a listener, for tests that run whole jobs in process."""

import threading
from io import BytesIO

import numpy as np
from PIL import Image

from respin.request import RotationRequest


def photo_bytes(height=120, width=160):
    pixels = np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)
    file = BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def request_for(**fields):
    fields = {"image": photo_bytes(), "class_name": "laptop", "steps": 3, "background_steps": 2, **fields}
    return RotationRequest(**fields)


def pixels_of(encoded):
    return np.asarray(Image.open(BytesIO(encoded)))


class Listener:
    """Keeps events, and encodes all their results."""

    def __init__(self):
        self.events = []
        self.made = {}
        self.lock = threading.Lock()

    def __call__(self, event):
        with self.lock:
            self.events.append(event)
        for name, make in event.results.items():
            self.made[name, event.view] = make()
