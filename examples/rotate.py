"""Turn an object with Triton's own client, without Respin's."""

import os
from pathlib import Path

import numpy as np
from tritonclient.grpc import InferenceServerClient, InferInput, InferRequestedOutput
from tritonclient.utils import np_to_triton_dtype

photo = Path(__file__).with_name("coffee.png")
inputs = {
    "image": np.array([photo.read_bytes()], np.object_),
    "class_name": np.array([b"coffee cup"], np.object_),
    "box": np.array([165, 12, 428, 312], np.float32),
    "azimuth": np.array([-40, 40], np.float32),
}
tensors = []
for name, array in inputs.items():
    tensors.append(InferInput(name, array.shape, np_to_triton_dtype(array.dtype)))
    tensors[-1].set_data_from_numpy(array)
with InferenceServerClient(os.environ.get("RESPIN_URL", "127.0.0.1:8001")) as client:
    answer = client.infer("rotate_object", tensors, outputs=[InferRequestedOutput("image")], client_timeout=300)
for view, picture in enumerate(answer.as_numpy("image")):
    Path(f"turned-{view}.png").write_bytes(picture)
