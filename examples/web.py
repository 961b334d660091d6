"""A web service in front of Respin.

pip install fastapi python-multipart uvicorn
uvicorn --app-dir examples web:app
curl -F photo=@examples/coffee.png -F 'class_name=coffee cup' -F azimuth=40 127.0.0.1:8000/rotate > turned.jpg
"""

import os
from typing import Annotated

from fastapi import FastAPI, File, Form, Request, Response
from fastapi.responses import JSONResponse

from respin_client import Busy, Client, DeadlineExceeded, InvalidInput, ObjectNotFound, RespinError, request_from_photo

STATUS = {InvalidInput: 400, ObjectNotFound: 404, Busy: 503, DeadlineExceeded: 504}

app = FastAPI()
client = Client(os.environ.get("RESPIN_URL", "127.0.0.1:8001"))


# Not async: FastAPI runs it in a thread, and several threads may use one client.
@app.post("/rotate", response_class=Response)
def rotate(
    photo: Annotated[bytes, File()],
    class_name: Annotated[str, Form()],
    azimuth: Annotated[float, Form()],
    polar: Annotated[float, Form()] = 0.0,
    box: Annotated[str | None, Form(description="x0 y0 x1 y1")] = None,
) -> Response:
    corners = None if box is None else list(map(float, box.split()))
    request = request_from_photo(photo, class_name, azimuth, polar, box=corners, output_format="jpeg")
    return Response(client.rotate_object(request).image[0], media_type="image/jpeg")


@app.exception_handler(RespinError)
def answer_in_words(request: Request, error: Exception) -> JSONResponse:
    return JSONResponse({"detail": str(error)}, STATUS.get(type(error), 500))
