"""Images built by buildah and containers run by podman and runc, as a machine without Docker and its registry can.

The base image, ``python:3.11-slim-bookworm`` elsewhere, is made of Debian's packages by debootstrap, once a machine: it
stays as ``localhost/sightline-test-base``. It gets this machine's certificates, which its package index may need.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from tests.support.paths import ROOT
from tests.support.system import System, running

TOOLS = ("podman", "buildah", "runc", "debootstrap")
BASE = "localhost/sightline-test-base"
MIRROR = "http://deb.debian.org/debian"
CERTIFICATES = "etc/ssl/certs/ca-certificates.crt"
USER = 54321
"""A user id that the image does not know, as OpenShift chooses one."""
HARDENED = (
    *("--user", f"{USER}:0", "--read-only", "--cap-drop", "ALL"),
    # As Docker and Kubernetes do: podman would copy the image's /tmp/ray, without the right to write to it.
    *("--tmpfs", "/tmp:mode=1777,notmpcopyup"),
    *("--security-opt", "no-new-privileges"),
)
"""What compose and Kubernetes ask for, and another user id."""


def missing() -> str:
    """Return why no image can be built here; empty where one can."""
    if os.getuid() != 0:
        return "images are built as root here"
    absent = [tool for tool in TOOLS if shutil.which(tool) is None]
    return f"not installed: {' '.join(absent)}" if absent else ""


def build(target: str) -> str:
    """Build a stage of ``configs/docker/Dockerfile`` and return the image's name.

    What was built of the same files before is used again.

    Raises:
        AssertionError: a step failed; the text is its output.
    """
    _make_base()
    name = f"localhost/sightline-test:{target}"
    file = ROOT / "configs" / "docker" / "Dockerfile"
    _run(
        *("buildah", "bud", "--layers", "--isolation", "chroot", "--network", "host", "--format", "docker"),
        "--pull-never",
        *("--from", BASE, "--target", target, "--tag", name),
        *("--file", str(file), "--ignorefile", f"{file}.dockerignore", str(ROOT)),
    )
    return name


@contextmanager
def container(
    image: str, folder: Path, *arguments: str, options: tuple[str, ...] = HARDENED, **environment: str
) -> Iterator[tuple[System, str]]:
    """Run an image in the foreground, in this machine's network; yield the process and the container's name.

    Args:
        image: a name that :func:`build` returned.
        folder: becomes the state volume; the container's group may write it.
        arguments: what the image's own command is given, or another command.
        options: of ``podman run``.
        environment: variables within the container.
    """
    folder.mkdir(exist_ok=True)
    folder.chmod(0o2770)
    name = f"sightline-{uuid.uuid4().hex[:8]}"
    files = min(20_000, int(subprocess.check_output(["sh", "-c", "ulimit -Hn"])))
    command = [
        *("podman", "--runtime", "runc", "run", "--rm", "--name", name, "--network", "host", "--no-healthcheck"),
        *("--shm-size", "512m", "--ulimit", f"nofile={files}:{files}", "--ulimit", "nproc=4096:4096"),
        *("--volume", f"{folder}:/var/lib/sightline"),
        *(word for key, value in environment.items() for word in ("--env", f"{key}={value}")),
        *(*options, image, *arguments),
    ]
    try:
        with running(command, folder) as process:
            yield process, name
    finally:
        subprocess.run(["podman", "rm", "--force", "--time", "0", name], capture_output=True, check=False)


def inside(name: str, *command: str) -> subprocess.CompletedProcess[str]:
    """Run a command in a running container, as its user."""
    return subprocess.run(
        ["podman", "--runtime", "runc", "exec", name, *command],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def status_of_process_1(name: str) -> Mapping[str, str]:
    """Return the fields of ``/proc/1/status`` of a container (proc_pid_status(5))."""
    lines = inside(name, "cat", "/proc/1/status").stdout.splitlines()
    return {key: value.strip() for key, _, value in (line.partition(":") for line in lines)}


def _make_base() -> None:
    if subprocess.run(["podman", "image", "exists", BASE], check=False).returncode == 0:
        return
    with tempfile.TemporaryDirectory(prefix="sightline-base-") as folder:
        root, archive = Path(folder, "root"), Path(folder, "base.tar")
        packages = "python3,python3-venv,ca-certificates"
        _run("debootstrap", "--variant=minbase", f"--include={packages}", "bookworm", str(root), MIRROR)
        (root / "usr" / "bin" / "python").symlink_to("python3")
        shutil.copy(Path("/", CERTIFICATES), root / CERTIFICATES)
        (root / "etc" / "pip.conf").write_text(f"[global]\ncert = /{CERTIFICATES}\n")
        _run("tar", "-C", str(root), "-cf", str(archive), ".")
        _run("podman", "import", str(archive), BASE)


def _run(*command: str) -> None:
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    assert done.returncode == 0, done.stdout[-8_000:]
