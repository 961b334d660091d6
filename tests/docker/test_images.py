"""Dockerfile and compose.yaml: what they must hold. No image is built here: that takes a Docker daemon."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import yaml
from compose_spec import PyCompose

from respin.contracts import JOBS, NETWORKS
from respin.shared_memory import needed_mib
from respin_export.setup.plan import SetupPlan

ROOT = Path(__file__).parents[2]
DOCKERFILE = (ROOT / "docker/Dockerfile").read_text()
COMPOSE = yaml.safe_load((ROOT / "docker/compose.yaml").read_text())
SERVICES = COMPOSE["services"]
SERVERS = ["server", "server-cpu"]


def stage(name):
    """The instructions of one image of the Dockerfile."""
    found = re.search(rf"^FROM \S+ AS {name}$(.*?)(?=^FROM |\Z)", DOCKERFILE, re.MULTILINE | re.DOTALL)
    assert found, name
    return found[1]


def base(name):
    return re.search(rf"^FROM (\S+) AS {name}$", DOCKERFILE, re.MULTILINE)[1]


def test_compose_yaml_is_valid_by_the_compose_specification():
    assert PyCompose.from_json(json.dumps(COMPOSE)).service_names() == ["setup", *SERVERS]


@pytest.mark.parametrize(
    ("wrong", "words"),
    [("shm_sise: 1g", "shm_sise"), ("depends_on: {setup: {condition: never}}", "never"), ("ports: [a:b:c]", "host ip")],
)
def test_what_the_specification_does_not_know_is_refused(wrong, words):
    changed = {**COMPOSE, "services": {**SERVICES, "server": {**SERVICES["server"], **yaml.safe_load(wrong)}}}
    with pytest.raises(ValueError, match=words):
        PyCompose.from_json(json.dumps(changed))


def test_engines_are_built_by_the_tensorrt_of_the_triton_that_loads_them():
    assert base("server") == "nvcr.io/nvidia/tritonserver:${TRITON_RELEASE}-py3"
    assert base("export") == "nvcr.io/nvidia/tensorrt:${TRITON_RELEASE}-py3"
    assert re.findall(r"\b\d\d\.\d\d\b", DOCKERFILE) == re.findall(
        r"^ARG TRITON_RELEASE=(\S+)$", DOCKERFILE, re.MULTILINE
    )


def test_the_release_in_the_documentation_is_that_of_the_images():
    release = re.search(r"^ARG TRITON_RELEASE=(\S+)$", DOCKERFILE, re.MULTILINE)[1]
    assert f"| `TRITON_RELEASE` | {release} |" in (ROOT / "docs/containers.md").read_text()


@pytest.mark.parametrize("name", ["export", "server", "cpu"])
def test_no_image_runs_as_root(name):
    user = re.findall(r"^USER (\S+)$", stage(name), re.MULTILINE)[-1]
    assert int(user) >= 1000
    assert f"useradd --uid {user} " in stage(name)


@pytest.mark.parametrize("name", ["server", "cpu"])
def test_the_health_check_of_a_server_is_a_job(name):
    check = re.search(r"^HEALTHCHECK .* CMD (\[.*\])$", stage(name), re.MULTILINE)
    assert json.loads(check[1]) == ["python", "-m", "respin_client.canary"]


@pytest.mark.parametrize("name", SERVERS)
def test_a_server_has_the_shared_memory_that_its_models_need(name):
    given = re.fullmatch(r"(\d+)g", SERVICES[name]["shm_size"])
    assert int(given[1]) * 1024 >= needed_mib([*NETWORKS, *JOBS])


@pytest.mark.parametrize("name", SERVERS)
def test_a_server_can_be_reached_from_this_machine_only_and_has_no_rights(name):
    service = SERVICES[name]
    assert all(port.startswith("127.0.0.1:") for port in service["ports"])
    assert service["read_only"] is True
    assert "/tmp" in service["tmpfs"]
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]


@pytest.mark.parametrize("name", SERVERS)
def test_a_stop_waits_for_requests_in_flight(name):
    exit_timeout_s = int(re.search(r"--exit-timeout-secs (\d+)", (ROOT / "docker/serve.sh").read_text())[1])
    assert int(SERVICES[name]["stop_grace_period"].removesuffix("s")) > exit_timeout_s


def test_what_is_served_is_what_the_setup_makes():
    command = SERVICES["setup"]["command"]
    options = dict(zip(command[::2], command[1::2], strict=True))
    plan = SetupPlan(Path("/weights"), Path("/models"), options["--device"], options["--runtime"], flavour="tensorrt")
    assert SERVICES["server"]["environment"]["RESPIN_MODELS"] == str(plan.engines)
    assert f"RESPIN_MODELS={plan.engines}" in stage("server")
    assert json.loads(re.search(r"^ENTRYPOINT (.*)$", stage("export"), re.MULTILINE)[1])[3:] == [
        *("--weights", str(plan.weights), "--models", str(plan.models))
    ]
    assert SERVICES["server"]["depends_on"] == {"setup": {"condition": "service_completed_successfully"}}
    assert {"weights:/weights", "models:/models"} == set(SERVICES["setup"]["volumes"])


def test_the_build_context_holds_what_the_wheel_is_built_from():
    kept = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    # Python 3.10 has none.
    tomllib = pytest.importorskip("tomllib")
    built = tomllib.loads((ROOT / "pyproject.toml").read_text())
    wheel = built["tool"]["hatch"]["build"]["targets"]["wheel"]
    needed = {Path(package).parts[0] for package in wheel["packages"]} | set(wheel["force-include"])
    needed |= {"pyproject.toml", built["project"]["readme"], built["project"]["license-files"][0], "docker/serve.sh"}
    assert kept == needed
