#!/usr/bin/env bash
# Turn an object with curl: respin serve --http-port 8000, and in another terminal bash examples/rotate.sh
set -euo pipefail
server=${RESPIN_HTTP:-127.0.0.1:8000}
photo=$(dirname "$0")/coffee.png
size=$(stat --format %s "$photo")

# Pictures do not fit into JSON. They follow it, each preceded by its length in 4 bytes, little-endian.
request='{"inputs": [
  {"name": "image", "datatype": "BYTES", "shape": [1], "parameters": {"binary_data_size": '$((size + 4))'}},
  {"name": "class_name", "datatype": "BYTES", "shape": [1], "data": ["coffee cup"]},
  {"name": "box", "datatype": "FP32", "shape": [4], "data": [165, 12, 428, 312]},
  {"name": "azimuth", "datatype": "FP32", "shape": [1], "data": [40]}
], "outputs": [{"name": "image", "parameters": {"binary_data": true}}]}'
length=$(printf '\\x%02x' $((size & 255)) $((size >> 8 & 255)) $((size >> 16 & 255)) $((size >> 24)))

answer=$(mktemp)
trap 'rm -f "$answer"' EXIT
json=$({ printf '%s' "$request"; printf "$length"; cat "$photo"; } |
  curl --silent --show-error --fail-with-body --data-binary @- --output "$answer" \
    --header "Inference-Header-Content-Length: ${#request}" --header 'Content-Type: application/octet-stream' \
    --write-out '%header{inference-header-content-length}' "http://$server/v2/models/rotate_object/infer") ||
  { cat "$answer" >&2; exit 1; }
tail --bytes +$((json + 4 + 1)) "$answer" > turned.png
