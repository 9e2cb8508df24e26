"""Which of Serve's proxies a camera asks."""

from __future__ import annotations

from collections import Counter

import pytest

from app.fleet.proxies import MAX_SPARES, Proxy, addresses
from app.settings.service_address import ServiceAddress

LOCAL = ServiceAddress(host="127.0.0.1", port=9000)
PROXIES = [Proxy(f"n{number}", f"10.0.0.{number}") for number in range(8)]


def targets(
    node: str, proxies: list[Proxy] = PROXIES, configured: ServiceAddress = LOCAL, camera: str = "gate"
) -> list[str]:
    return [one.target for one in addresses(configured, proxies, node=node, camera_id=camera)]


def test_a_camera_asks_the_proxy_of_its_own_node_first_and_knows_others():
    first, *spare = targets("n3")
    assert first == "127.0.0.1:9000"
    assert len(spare) == MAX_SPARES
    assert set(spare) < {f"10.0.0.{number}:9000" for number in range(8)} - {"10.0.0.3:9000"}


def test_a_camera_on_a_node_without_a_proxy_asks_others_and_its_own_node_last():
    *others, last = targets("edge")
    assert last == "127.0.0.1:9000"
    assert len(others) == MAX_SPARES


def test_cameras_are_spread_over_the_proxies_and_one_that_goes_moves_few():
    cameras = [f"camera-{number}" for number in range(400)]
    before = {camera: targets("edge", camera=camera)[0] for camera in cameras}
    assert min(Counter(before.values()).values()) > 400 / 8 / 2
    after = {camera: targets("edge", PROXIES[1:], camera=camera)[0] for camera in cameras}
    moved = {camera for camera in cameras if after[camera] != before[camera]}
    assert moved == {camera for camera in cameras if before[camera] == "10.0.0.0:9000"}


@pytest.mark.parametrize("reported", ["10.1.1.1:9000", "gateway:9000", "grpcs://127.0.0.1:9443"])
def test_any_other_address_stands_as_it_is(reported: str):
    configured = ServiceAddress.parse(reported)
    assert addresses(configured, PROXIES, node="n3", camera_id="gate") == (configured,)


@pytest.mark.parametrize(
    "proxies", [[], [Proxy("n3", "10.0.0.3")], [Proxy("n4", "127.0.0.1")], [Proxy("n4", "host-4")]]
)
def test_the_address_stands_as_it_is_where_no_proxy_of_another_node_can_be_named(proxies: list[Proxy]):
    assert targets("n3", proxies, ServiceAddress.parse("localhost:9000")) == ["localhost:9000"]


def test_addresses_are_of_one_family():
    mixed = [Proxy("n1", "10.0.0.1"), Proxy("n2", "fd00::2")]
    assert targets("n1", mixed, ServiceAddress.parse("[::1]:9000")) == ["[::1]:9000", "[fd00::2]:9000"]
    assert targets("n3", mixed, ServiceAddress.parse("localhost:9000")) == ["10.0.0.1:9000", "127.0.0.1:9000"]
