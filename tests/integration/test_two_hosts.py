"""Cameras on a node with an address of its own and without a proxy (long): in a process of its own, and as root."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from tests.conftest import ROOT


@pytest.mark.long
@pytest.mark.timeout(300)
@pytest.mark.skipif(os.getuid() != 0, reason="a network namespace needs root")
def test_cameras_on_a_node_without_a_proxy_ask_another_node_s():
    done = subprocess.run(
        [sys.executable, "-m", "tests.integration.two_hosts"],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        timeout=250,
    )
    told = json.loads(done.stdout.splitlines()[-1])
    assert not told["served_by_its_own_loopback"]
    assert told["proxies"] == 1  # the head's, though Serve was told EveryNode
    assert all(camera["accepted"] >= 10 for camera in told["cameras"].values())
    assert len(told["cameras"]) == 2
