#!/usr/bin/env bash
# What the server images run. Arguments are passed on: to `respin serve` (profiles cpu and local), or to tritonserver.
#   RESPIN_PROFILE       cpu, local: the embedded Triton; onnxruntime, tensorrt: the Triton of the image. Default: cpu.
#   RESPIN_MODELS        folder of the set of weights. Default: the mini set.
#   RESPIN_GRPC_PORT     default 8001
#   RESPIN_METRICS_PORT  default 8002
#   RESPIN_REPOSITORY    folder to assemble for the Triton of the image. Default: /tmp/respin/served
#   TRITONSERVER         its program. Default: /opt/tritonserver/bin/tritonserver
set -euo pipefail

profile=${RESPIN_PROFILE:-cpu}
models=(${RESPIN_MODELS:+--models "$RESPIN_MODELS"})
grpc_port=${RESPIN_GRPC_PORT:-8001}
metrics_port=${RESPIN_METRICS_PORT:-8002}
repository=${RESPIN_REPOSITORY:-/tmp/respin/served}
tritonserver=${TRITONSERVER:-/opt/tritonserver/bin/tritonserver}

case "$profile" in
  cpu | local)
    exec respin serve --profile "$profile" "${models[@]}" \
      --host 0.0.0.0 --grpc-port "$grpc_port" --metrics-port "$metrics_port" "$@"
    ;;
  onnxruntime | tensorrt)
    if [[ ! -x $tritonserver ]]; then
      echo "serve.sh: profile '$profile' needs NVIDIA's Triton image ('$tritonserver' is not there);" \
        "use the image 'server', or RESPIN_PROFILE=cpu" >&2
      exit 2
    fi
    respin assemble "$repository" "${models[@]}" --profile "$profile"
    # Nobody knows this key, so the administrative APIs are closed. So is HTTP: see docs/reliability.md.
    key=$(od --address-radix=n --read-bytes=32 --format=x1 /dev/urandom | tr --delete ' \n')
    exec "$tritonserver" \
      --model-repository "$repository" --model-config-name "$profile" \
      --disable-auto-complete-config --exit-on-error true --exit-timeout-secs 30 \
      --grpc-address 0.0.0.0 --grpc-port "$grpc_port" \
      --metrics-address 0.0.0.0 --metrics-port "$metrics_port" \
      --allow-http false \
      --grpc-restricted-protocol "model-repository,shared-memory,trace,logging:admin-key=$key" \
      --backend-config python,shm-default-byte-size=16777216 \
      --backend-config python,shm-growth-byte-size=16777216 \
      "$@"
    ;;
  *)
    echo "serve.sh: RESPIN_PROFILE is '$profile'; choose cpu, local, onnxruntime or tensorrt" >&2
    exit 2
    ;;
esac
