"""Starting the whole system: what ``sightline up`` does around ``serve run``."""

from __future__ import annotations

import ctypes
import importlib.util
import re
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping
from pathlib import Path
from types import FrameType

import yaml

from app.cli.ray_clusters import LOCAL, is_alive, listens, recorded_cluster
from app.errors import SettingsError
from app.settings.paths import DEMO_MODEL
from app.settings.runtime_env import with_environment
from app.settings.serve_config import listening_on, read_serve_config
from app.settings.settings import Settings

TUNED: Mapping[str, str] = {
    # HAProxy in front of the replicas instead of Serve's Python proxy, and less bookkeeping a request:
    # seen to carry three times the requests at half the latency with a detector that did nothing.
    "RAY_SERVE_ENABLE_HA_PROXY": "1",
    "RAY_SERVE_THROUGHPUT_OPTIMIZED": "1",
    # With these, lines wait in memory for 999 others; ours are few, and meant to be read when they are written.
    "RAY_SERVE_REQUEST_PATH_LOG_BUFFER_SIZE": "1",
    # How long a replica that nobody asks any more is kept: with HAProxy's default of 30 s Ctrl-C takes 33 s.
    "RAY_SERVE_DIRECT_INGRESS_MIN_DRAINING_PERIOD_S": "2",
    # Serve's controller looks at everything ten times a second, for which it takes a tenth of a core; a dead replica or
    # a load that rose is seen early enough by four.
    "RAY_SERVE_CONTROL_LOOP_INTERVAL_S": "0.25",
    # Ray's head keeps what became of the last 100 000 calls for its dashboard: over 300 MB, filled within hours.
    "RAY_task_events_max_num_task_in_gcs": "2000",
    # How often Ray's head looks whether a node is there: it gives up one that refuses it five times, by default within
    # 15 s, and starts actors there meanwhile. What a node that says nothing is given stays: five times 10 s.
    "RAY_health_check_period_ms": "1000",
    # Ray lowers its workers' priority (nice 15): beside anything else on the machine, frames would wait for it.
    "RAY_worker_niceness": "0",
    # Nothing phones home.
    "RAY_USAGE_STATS_ENABLED": "0",
    # Worker logs repeat a line for each process; the status line must not be folded away.
    "RAY_DEDUP_LOGS": "0",
}
"""What Ray reads when it starts; a variable that is set already stays as it is."""
DIRECT: Mapping[str, str] = {
    # Serve's own gRPC between replicas takes the proxy of the environment (https_proxy, http_proxy), and a replica's
    # address is hardly in no_proxy. gRPC reads this variable first, and an empty one means no proxy.
    "grpc_proxy": "",
}
"""What holds whatever the shell says: no proxy stands between the processes of the system."""
LOOPBACK: Mapping[str, str] = {
    # Ray then takes 127.0.0.1 for this machine's address, and its own processes (GCS, raylet, workers, agents) listen
    # there and not on every interface. Meant for desktops, as the name says, but read everywhere.
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
}
"""The same, where the cluster that is started is this machine alone."""


_HOST_AND_PORT = re.compile(r"[^/]+:\d+")
"""An address of a cluster's head, unlike ``auto``, ``local`` and ``ray://…``."""
WHOLE = ("ray", "torch", "ultralytics", "kafka", "fastapi")
"""What an install for cameras on the edge has none of (``configs/edge/requirements.txt``)."""


def missing_packages() -> list[str]:
    """Tell which packages of the whole install are not here; none is imported for that."""
    return [name for name in WHOLE if importlib.util.find_spec(name) is None]


def joins_a_cluster(environment: Mapping[str, str]) -> bool:
    """Return whether ``serve run`` will join a running Ray cluster, where this shell's variables do not reach.

    A cluster on record that is gone is not joined: a new one is started.

    Raises:
        SettingsError: ``RAY_ADDRESS`` names a host and port where nothing listens.
    """
    address = environment.get("RAY_ADDRESS")
    if address:
        if _HOST_AND_PORT.fullmatch(address) and not listens(address):
            raise SettingsError(
                f"RAY_ADDRESS: no Ray cluster answers at {address!r}; unset it, and one is started on this machine"
            )
        return address != LOCAL
    recorded = recorded_cluster(environment)
    return recorded is not None and is_alive(recorded, tls=environment.get("RAY_USE_TLS", "0").lower() in ("1", "true"))


def find_the_model(settings: Settings, environment: Mapping[str, str]) -> None:
    """Check, before anything starts here, that the model is there and can be used; a hub name is downloaded, once.

    On a cluster that runs already the model lies where its replicas run, and they tell.

    Raises:
        SettingsError: there is no such model, or it is not the pinned one.
        ModelUnavailable: it could not be downloaded, or cannot be used.
    """
    detector = settings.detector
    bundled = detector.model == str(DEMO_MODEL) and detector.model_sha256 is None
    if bundled or joins_a_cluster(environment):
        return
    # Here: it loads torch, which takes seconds.
    from app.detection import DetectorOptions
    from app.detection.models.check import check_model
    from app.detection.models.files import check_pin, find_model

    check_pin(find_model(detector.model), detector.model_sha256)
    check_model(DetectorOptions.of(detector))


def serve_run(config_path: Path, settings: Settings, environment: Mapping[str, str], listen: str | None = None) -> int:
    """Run ``serve run`` in the foreground until it ends; give its exit status.

    Ctrl-C reaches it by the terminal, a SIGTERM to us is passed on as the same wish. ``listen`` is the address that
    cameras and browsers reach, in the place of the configuration's own; Ray's own processes stay where they are.

    Raises:
        SettingsError: ``listen`` is no IP address.
    """
    tuned = {**TUNED, **environment, **DIRECT}
    written = read_serve_config(config_path)
    config = listening_on(written, listen)
    joins = joins_a_cluster(environment)
    if not joins:
        # Ray would try for minutes to join the cluster that the file of a dead one names.
        tuned = {**LOOPBACK, **tuned, "RAY_ADDRESS": LOCAL}
    if not joins and config == written:
        return _foreground([str(config_path)], tuned)
    with tempfile.TemporaryDirectory(prefix="sightline-") as folder:  # its owner's alone
        file = Path(folder) / "serve_config.yaml"
        handed = with_environment(config, environment, settings.cameras, Path(folder)) if joins else config
        file.write_text(yaml.safe_dump(handed, sort_keys=False))
        return _foreground([str(file)], tuned)


def _foreground(arguments: list[str], environment: Mapping[str, str]) -> int:
    command = [sys.executable, "-m", "ray.serve.scripts", "run", *arguments]
    # A session of its own: the terminal's Ctrl-C reaches us alone, and the child gets exactly one interrupt,
    # for a second one would break off its shutdown.
    process: subprocess.Popen[bytes] | None = None
    told, passed_on = threading.Event(), threading.Event()

    def tell(_number: int = 0, _frame: FrameType | None = None) -> None:
        told.set()
        if process is not None and not passed_on.is_set():
            passed_on.set()
            process.send_signal(signal.SIGINT)

    # A closed terminal is a wish to end, too.
    wishes = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = {number: signal.signal(number, tell) for number in wishes}
    try:
        process = subprocess.Popen(
            command, env=dict(environment), start_new_session=True, preexec_fn=_follow_the_parent
        )
        if told.is_set():
            tell()  # the wish came while the process was being made
        status = process.wait()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    return 0 if told.is_set() else status


def _follow_the_parent() -> None:
    # A shell starts background jobs with SIGINT ignored, and that would be inherited.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    # If we are killed outright, the system is to end as by Ctrl-C (prctl(2), PR_SET_PDEATHSIG).
    ctypes.CDLL(None).prctl(1, signal.SIGINT)
