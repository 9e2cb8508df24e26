"""A cluster on record or named by RAY_ADDRESS: joined where it runs, never waited for where it is gone."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import pytest

from app.cli import up
from app.cli.ray_clusters import check_sessions, is_alive, recorded_cluster
from app.errors import SettingsError
from tests.support.command import call
from tests.support.paths import ROOT


@pytest.fixture
def head() -> Iterator[str]:
    """Run a gRPC server, as each Ray head is."""
    server = grpc.server(ThreadPoolExecutor(1))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield f"127.0.0.1:{port}"
    server.stop(None)


@pytest.fixture
def closed_port() -> Iterator[int]:
    """Return a port that is bound, and on which nothing listens."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield bound.getsockname()[1]


def record(folder: Path, address: str) -> dict[str, str]:
    (folder / "ray").mkdir()
    (folder / "ray" / "ray_current_cluster").write_text(address)
    return {"RAY_TMPDIR": str(folder)}


def test_the_record_is_where_ray_writes_it(tmp_path: Path):
    code = "from ray._common.utils import get_ray_address_file; print(get_ray_address_file(None))"
    for name in ("RAY_TMPDIR", "TMPDIR"):
        folder = tmp_path / name
        folder.mkdir()
        clean = {key: value for key, value in os.environ.items() if key not in ("RAY_TMPDIR", "TMPDIR")}
        environment = {**clean, name: str(folder)}
        done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
        assert recorded_cluster(environment) is None
        record(folder, "10.0.0.1:6379\n")
        assert done.stdout.strip() == str(folder / "ray" / "ray_current_cluster")
        assert recorded_cluster(environment) == "10.0.0.1:6379"


def test_a_folder_for_ray_s_session_that_cannot_be_written_is_one_line(tmp_path: Path):
    check_sessions({"RAY_TMPDIR": str(tmp_path / "made" / "by-ray")})
    (tmp_path / "ray").write_text("in the way")
    with pytest.raises(SettingsError, match=r"^RAY_TMPDIR: Ray keeps its session in '.*/ray', and '.*/ray' cannot be"):
        check_sessions({"TMPDIR": str(tmp_path)})


def test_a_cluster_that_runs_is_joined_also_with_a_proxy_in_the_environment(head: str, tmp_path: Path):
    environment = record(tmp_path, head)
    assert up.joins_a_cluster(environment)
    assert up.joins_a_cluster({"RAY_ADDRESS": head})
    done = subprocess.run(
        [sys.executable, "-c", f"from app.cli.ray_clusters import is_alive; print(is_alive({head!r}))"],
        env={**os.environ, "PYTHONPATH": str(ROOT), "http_proxy": "http://127.0.0.1:9"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "True"


@pytest.mark.parametrize("text", ["", "\n", "no address", "127.0.0.1:", "127.0.0.1:99999999"])
def test_a_damaged_record_is_no_cluster(tmp_path: Path, text: str):
    assert not up.joins_a_cluster(record(tmp_path, text))


def test_a_cluster_on_record_that_is_gone_is_not_joined(tmp_path: Path, closed_port: int):
    assert not up.joins_a_cluster(record(tmp_path, f"127.0.0.1:{closed_port}"))


def test_another_program_on_the_port_of_a_dead_head_is_no_cluster():
    with socket.create_server(("127.0.0.1", 0)) as other:
        address = f"127.0.0.1:{other.getsockname()[1]}"
        assert not is_alive(address, ready_s=0.5)
        assert is_alive(address, tls=True)


def test_up_names_a_cluster_of_the_environment_that_is_gone_in_one_line(closed_port: int):
    done = call("up", RAY_ADDRESS=f"127.0.0.1:{closed_port}", DETECTOR_MODEL="configs/models/street.pt")
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert f"127.0.0.1:{closed_port}" in done.stderr
    assert "RAY_ADDRESS" in done.stderr


def test_a_cluster_of_this_machine_alone_is_not_joined():
    assert not up.joins_a_cluster({"RAY_ADDRESS": "local"})


def test_serve_s_own_grpc_takes_no_proxy_under_up(head: str):
    code = (
        "import grpc, sys\n"
        "from ray._private.grpc_utils import init_grpc_channel\n"
        "try:\n"
        "    grpc.channel_ready_future(init_grpc_channel(sys.argv[1])).result(timeout=3)\n"
        "    print('reached')\n"
        "except grpc.FutureTimeoutError:\n"
        "    print('lost')\n"
    )
    proxy = {"http_proxy": "http://127.0.0.1:9", "https_proxy": "http://127.0.0.1:9"}
    clean = {key: value for key, value in os.environ.items() if not key.lower().endswith("_proxy")}
    found = [
        subprocess.run(
            [sys.executable, "-c", code, head], env={**clean, **more}, capture_output=True, text=True, check=True
        ).stdout.strip()
        for more in (proxy, {**proxy, **up.DIRECT})
    ]
    assert found == ["lost", "reached"]


def test_what_ray_s_commands_need_in_another_shell_is_reported_where_ray_asks_for_a_token():
    assert "RAY_AUTH_MODE=token" in up.second_shell({})
    assert "RAY_AUTH_MODE=token" in up.second_shell({"RAY_AUTH_MODE": "token"})
    assert up.second_shell({"RAY_AUTH_MODE": "disabled"}) == ""
