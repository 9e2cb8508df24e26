from __future__ import annotations

import pytest

from app.cameras.sources.http_proxy import bypasses, proxy_for, proxy_options


@pytest.mark.parametrize(
    ("no_proxy", "host", "direct"),
    [
        ("", "gate.example", False),
        ("gate.example", "gate.example", True),
        ("GATE.example", "gate.EXAMPLE.", True),
        ("example", "gate.example", True),
        (".example", "gate.example", True),
        ("*.example", "gate.example", True),
        ("ate.example", "gate.example", False),
        ("a b,gate.example", "gate.example", True),
        ("gate.example:80", "gate.example", True),
        ("gate.example:81", "gate.example", False),
        ("192.168.0.0/16", "192.168.7.9", True),
        ("192.168.0.0/16", "192.169.7.9", False),
        ("192.168.7.9", "192.168.7.9", True),
        ("168.7.9", "192.168.7.9", False),
        ("192.168.0.0/16", "gate.example", False),
        ("fd00::/8", "fd12::1", True),
        ("[fd12::1]:80", "fd12::1", True),
        ("fd12::1", "fd12::2", False),
        ("*", "anything", True),
        (".", "gate.example", False),
    ],
)
def test_no_proxy_names_hosts_domains_networks_and_ports(no_proxy: str, host: str, direct: bool):
    assert bypasses(no_proxy, host, 80) is direct


def test_each_scheme_has_its_own_variable_and_lower_case_counts_first():
    environment = {"http_proxy": "http://a:1", "HTTP_PROXY": "http://b:1", "HTTPS_PROXY": "http://c:1"}
    assert proxy_for("http://gate/1", environment) == "http://a:1"
    assert proxy_for("https://gate/1", environment) == "http://c:1"
    assert proxy_for("http://gate/1", {**environment, "http_proxy": ""}) is None
    assert proxy_for("http://gate/1", {"http_proxy": "socks5://a:1"}) is None


def test_only_http_cameras_get_options_of_a_proxy():
    environment = {"http_proxy": "http://a:1"}
    assert proxy_options("rtsp://gate/1", environment) == {}
    assert proxy_options("/videos/a.mp4", environment) == {}
    assert proxy_options("HTTP://gate/1", environment) == {"http_proxy": "http://a:1"}
