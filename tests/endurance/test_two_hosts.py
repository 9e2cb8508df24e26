"""Cameras on a node with an address of its own and without a proxy: in a process of its own, and as root."""

from __future__ import annotations

import os

import pytest

from tests.support.ray_apart import reported_by


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.skipif(os.getuid() != 0, reason="a network namespace needs root")
def test_cameras_on_a_node_without_a_proxy_ask_another_node_s():
    reported = reported_by("two_hosts", timeout_s=250)
    assert not reported["served_by_its_own_loopback"]
    assert reported["proxies"] == 1  # the head's, though Serve was reported EveryNode
    assert all(camera["accepted"] >= 10 for camera in reported["cameras"].values())
    assert len(reported["cameras"]) == 2
