"""Respin's client: one photo in, the same photo out with its object turned.

from respin_client import Client, request_from_photo

with Client("127.0.0.1:8001") as client:
    result = client.rotate_object(request_from_photo("laptop.jpg", "laptop", azimuth=80))
    result.image[0].pil().show()
"""

from respin.errors import (
    Busy,
    Cancelled,
    ContractMismatch,
    DeadlineExceeded,
    InternalError,
    InvalidInput,
    ObjectNotFound,
    RespinError,
)
from respin.request import RotationRequest
from respin_client.client import Client
from respin_client.photos import request_from_photo
from respin_client.results import EncodedImage, RotationEvent, RotationResult, SegmentationResult
from respin_client.transport import TLS, Transport

__all__ = [
    "TLS",
    "Busy",
    "Cancelled",
    "Client",
    "ContractMismatch",
    "DeadlineExceeded",
    "EncodedImage",
    "InternalError",
    "InvalidInput",
    "ObjectNotFound",
    "RespinError",
    "RotationEvent",
    "RotationRequest",
    "RotationResult",
    "SegmentationResult",
    "Transport",
    "request_from_photo",
]
