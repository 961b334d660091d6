"""Which regions and folders are swept, and which are another launcher's."""

import os
import subprocess
import sys

import pytest

from respin.contracts import JOBS, NETWORKS
from respin.errors import InvalidInput
from respin.shared_memory import needed_mib
from respin_server.leftovers import check_free, owned_prefix, sweep, sweep_leftovers


@pytest.fixture
def dead_pid():
    with subprocess.Popen([sys.executable, "-S", "-c", ""]) as process:
        pass
    return process.pid


def region(folder, prefix):
    path = folder / f"{prefix}1bc963fe-11fb-4951-bfa0-7b6c3f7cbc47"
    path.write_bytes(b"")
    return path


def test_a_servers_regions_are_swept_and_its_neighbours_stay(tmp_path):
    mine, neighbours = owned_prefix(), owned_prefix()
    gone, kept = region(tmp_path, mine), region(tmp_path, neighbours)
    sweep(mine, tmp_path)
    assert not gone.exists()
    assert kept.exists()


def test_a_dead_launchers_regions_are_left_over(tmp_path, dead_pid):
    left = region(tmp_path, owned_prefix().replace(str(os.getpid()), str(dead_pid), 1))
    sweep_leftovers(tmp_path)
    assert not left.exists()


def test_a_dead_launchers_folders_are_left_over_and_a_living_ones_are_not(tmp_path, dead_pid):
    left = tmp_path / owned_prefix().replace(str(os.getpid()), str(dead_pid), 1)
    kept = tmp_path / owned_prefix()
    for folder in (left, kept):
        (folder / "backends").mkdir(parents=True)
    sweep_leftovers(tmp_path)
    assert not left.exists()
    assert kept.exists()


def test_a_living_launchers_regions_are_not(tmp_path):
    mine = region(tmp_path, owned_prefix())
    # Process 1 always lives, and often belongs to someone else.
    another = region(tmp_path, owned_prefix().replace(str(os.getpid()), "1", 1))
    sweep_leftovers(tmp_path)
    assert mine.exists()
    assert another.exists()


def test_a_launcher_of_another_container_is_not_judged(tmp_path, dead_pid):
    other = region(tmp_path, f"respin_{dead_pid}_1_0a1b2c3d_")
    sweep_leftovers(tmp_path)
    assert other.exists()


def test_other_programs_regions_are_not_ours(tmp_path):
    others = [tmp_path / name for name in ("triton_python_backend_1", "respin_notes", "respin_12_pictures")]
    for path in others:
        path.write_bytes(b"")
    sweep_leftovers(tmp_path)
    assert all(path.exists() for path in others)


@pytest.fixture(params=[64, 512])
def small_shared_memory(request, tmp_path):
    """A tmpfs of so many MiB, as `docker run --shm-size` makes one; mounting it takes root."""
    folder = tmp_path / "shm"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={request.param}m", "tmpfs", str(folder)]
    if subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("no right to mount a tmpfs here")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


@pytest.mark.parametrize("models", [[*NETWORKS, *JOBS], list(JOBS)], ids=["cpu", "local"])
def test_too_little_shared_memory_is_refused_before_anything_starts(small_shared_memory, models):
    with pytest.raises(InvalidInput, match=rf"this server needs {needed_mib(models)} MiB .* --shm-size 1g"):
        check_free(models, small_shared_memory)


def test_the_size_that_the_message_names_is_enough():
    assert needed_mib([*NETWORKS, *JOBS]) <= 1024
