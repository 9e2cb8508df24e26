"""The embedded broker: where it listens, and that it ends with its owner, however that ends."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from app.core.ports import free_port
from app.errors import BrokerUnavailable
from app.publisher.kafka.embedded_broker import EmbeddedBroker, read_announced
from tests.support.paths import ROOT
from tests.support.system import listening
from tests.support.waiting import wait_for


def test_it_is_ready_when_it_has_started_and_gone_when_it_has_stopped():
    broker = EmbeddedBroker(port=free_port()).start()
    port = int(broker.address.rsplit(":", 1)[1])
    assert broker.alive
    assert listening(port)
    broker.stop()
    assert not broker.alive
    assert not listening(port)


def test_it_listens_on_loopback_only():
    with EmbeddedBroker(port=free_port()) as broker:
        assert broker.address.startswith("127.0.0.1:")
        table = Path("/proc/net/tcp").read_text()
        port = int(broker.address.rsplit(":", 1)[1])
        assert f"0100007F:{port:04X}" in table
        assert f"00000000:{port:04X}" not in table


def test_two_brokers_share_one_machine():
    with EmbeddedBroker() as first, EmbeddedBroker() as second:
        assert first.address != second.address


def test_a_port_that_is_taken_is_reported():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(BrokerUnavailable, match="taken"):
            EmbeddedBroker(port=taken.getsockname()[1]).start()


def test_other_shells_find_it_while_it_runs(tmp_path: Path):
    announcement = tmp_path / "state" / "broker.json"
    assert read_announced(announcement) is None
    with EmbeddedBroker(port=free_port(), announcement=announcement) as broker:
        assert read_announced(announcement) == broker.address
    assert not announcement.exists()


def test_an_announcement_whose_owner_is_dead_counts_for_nothing(tmp_path: Path):
    announcement = tmp_path / "broker.json"
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    announcement.write_text(json.dumps({"address": "127.0.0.1:1", "pid": ended.pid}))
    assert read_announced(announcement) is None


def test_it_dies_with_an_owner_that_is_killed():
    code = (
        "import sys, time\nfrom app.publisher.kafka.embedded_broker import EmbeddedBroker\n"
        "print(EmbeddedBroker(port=int(sys.argv[1])).start().address, flush=True)\ntime.sleep(600)"
    )
    port = free_port()
    owner = subprocess.Popen([sys.executable, "-c", code, str(port)], stdout=subprocess.PIPE, text=True)
    assert owner.stdout is not None
    assert owner.stdout.readline().strip() == f"127.0.0.1:{port}"
    assert listening(port)
    os.kill(owner.pid, signal.SIGKILL)
    owner.wait()
    owner.stdout.close()
    wait_for(lambda: not listening(port), 10, "the end of the broker")


def test_it_outlives_the_thread_that_started_it():
    broker = EmbeddedBroker(port=free_port())
    starter = threading.Thread(target=broker.start)
    starter.start()
    starter.join()
    pid = broker.pid
    with pytest.raises(TimeoutError):
        wait_for(lambda: not broker.alive, 0.5)
    broker.stop()
    assert not Path(f"/proc/{pid}").exists()


def test_brokers_that_start_at_once_do_not_take_each_other_s_port_for_their_own():
    with ThreadPoolExecutor(4) as pool:
        brokers = list(pool.map(lambda _: EmbeddedBroker().start(), range(4)))
    try:
        assert all(broker.alive for broker in brokers)
        assert len({broker.address for broker in brokers}) == 4
    finally:
        for broker in brokers:
            broker.stop()


def test_it_can_be_started_again_once_stopped_but_not_twice():
    broker = EmbeddedBroker(port=free_port())
    for _ in range(2):
        broker.start()
        with pytest.raises(BrokerUnavailable, match="already"):
            broker.start()
        broker.stop()
        broker.stop()


def test_it_leaves_no_file_behind(tmp_path: Path):
    home, work = tmp_path / "home", tmp_path / "work"
    home.mkdir()
    work.mkdir()
    code = (
        "from app.publisher.kafka.embedded_broker import EmbeddedBroker, announcement_file\n"
        "from pathlib import Path\n"
        "file = announcement_file(Path('unused'))\n"
        "with EmbeddedBroker(announcement=file): assert file.is_file()"
    )
    places = {"HOME": str(home), "TMPDIR": str(work), "XDG_STATE_HOME": str(home / "state"), "PYTHONPATH": str(ROOT)}
    subprocess.run([sys.executable, "-c", code], check=True, cwd=work, env={"PATH": os.environ["PATH"], **places})
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_a_state_folder_that_cannot_be_written_does_not_keep_it_from_starting(tmp_path: Path):
    (tmp_path / "state").write_text("a file where a folder should be")
    with EmbeddedBroker(port=free_port(), announcement=tmp_path / "state" / "broker.json") as broker:
        assert broker.alive


def test_one_that_does_not_come_up_tells_the_end_of_its_output(tmp_path: Path):
    program = tmp_path / "tansu"
    program.write_text("#!/bin/sh\necho no such luck\nexit 1\n")
    program.chmod(0o755)
    broker = EmbeddedBroker(program=program)
    with pytest.raises(BrokerUnavailable, match=r"did not come up.*no such luck"):
        broker.start()
    assert not broker.alive
