"""``sightline up``: starts the whole system by ``serve run``."""

from __future__ import annotations

import ctypes
import re
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping
from pathlib import Path
from types import FrameType
from typing import Annotated

import typer
import yaml

from app.cli import ray_token
from app.cli.console import CONFIG, Config, out, resolve_settings
from app.cli.ray_clusters import LOCAL, check_sessions, is_alive, listens, recorded_cluster
from app.errors import SettingsError
from app.settings.environment import process_environment
from app.settings.paths import BUNDLED, DEMO_MODEL, IS_CHECKOUT
from app.settings.runtime_env import with_environment
from app.settings.serve_config import find_serve_config, listening_on, read_serve_config
from app.settings.settings import Settings

TUNED: Mapping[str, str] = {
    # HAProxy in front of the replicas instead of Serve's Python proxy, and less bookkeeping per request:
    # measured with a no-op detector: three times the requests at half the latency.
    "RAY_SERVE_ENABLE_HA_PROXY": "1",
    "RAY_SERVE_THROUGHPUT_OPTIMIZED": "1",
    # In throughput mode 1000 log lines are buffered; ours are few, and must be readable at once.
    "RAY_SERVE_REQUEST_PATH_LOG_BUFFER_SIZE": "1",
    # How long a replica without requests is drained: with HAProxy's default of 30 s Ctrl-C takes 33 s.
    "RAY_SERVE_DIRECT_INGRESS_MIN_DRAINING_PERIOD_S": "2",
    # Serve's controller runs its loop ten times a second, which takes a tenth of a core; a dead replica or
    # a risen load is detected early enough by four.
    "RAY_SERVE_CONTROL_LOOP_INTERVAL_S": "0.25",
    # Ray's head keeps the state of the last 100 000 calls for its dashboard: over 300 MB, filled within hours.
    "RAY_task_events_max_num_task_in_gcs": "2000",
    # How often Ray's head probes a node: it declares one dead that refuses five probes, by default within
    # 15 s, and starts actors there meanwhile. The time-out of a node that does not answer stays: five times 10 s.
    "RAY_health_check_period_ms": "1000",
    # Ray lowers its workers' priority (nice 15): frames would wait for any other process on the machine.
    "RAY_worker_niceness": "0",
    # Ray would reserve 30 % of the memory for objects that processes share. There are hardly any here: pictures
    # and events travel in calls. See deployments/README.md, "Memory".
    "RAY_DEFAULT_OBJECT_STORE_MAX_MEMORY_BYTES": str(256 * 1024**2),
    # Nothing phones home.
    "RAY_USAGE_STATS_ENABLED": "0",
    # Ray would deduplicate worker logs, and drop repeated status lines.
    "RAY_DEDUP_LOGS": "0",
}
"""Environment variables that Ray reads when it starts; one that is set already is left as it is."""
DIRECT: Mapping[str, str] = {
    # Serve's own gRPC between replicas takes the proxy of the environment (https_proxy, http_proxy), and a replica's
    # address is hardly in no_proxy. gRPC reads this variable first, and an empty one means no proxy.
    "grpc_proxy": "",
}
"""What holds whatever the shell says: no proxy stands between the processes of the system."""
LOOPBACK: Mapping[str, str] = {
    # Ray then uses 127.0.0.1 as this machine's address, and its own processes (GCS, raylet, workers, agents) listen
    # there and not on every interface. Meant for desktops, as the name says, but read on every system.
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
}
"""The same, where the cluster that is started is only this machine."""
_HOST_AND_PORT = re.compile(r"[^/]+:\d+")
"""An address of a cluster's head, unlike ``auto``, ``local`` and ``ray://…``."""


def up(
    listen: Annotated[str | None, typer.Option(help="Address for HTTP and gRPC; 0.0.0.0: every interface.")] = None,
    config: Config = CONFIG,
) -> None:
    """Start the whole system on this machine; Ctrl-C ends it."""
    from app.fleet import camera_store, describe_overrides, rule_store

    settings = resolve_settings(config)
    serve_config = find_serve_config(config)
    listening_on(read_serve_config(serve_config), listen)  # a mistake is reported before anything starts
    find_the_model(settings, process_environment())
    broker = "the embedded broker" if settings.kafka.embedded else ", ".join(settings.kafka.bootstrap_servers)
    destination = f"topic {settings.kafka.topic} on {broker}" if settings.kafka.enabled else "nowhere (Kafka is off)"
    cameras = f"{len(settings.cameras)} cameras{describe_overrides(camera_store(settings.state_dir))}"
    rules = f"{len(settings.rules)} rules{describe_overrides(rule_store(settings.state_dir))}"
    if serve_config.is_relative_to(BUNDLED) and not IS_CHECKOUT:
        out.print(
            "there is no serve_config.yaml here: the demonstration of the package is started; "
            "'sightline init' writes configuration files to change",
            markup=False,
        )
    out.print(
        f"Sightline: {cameras} and {rules} at {settings.inference_service_url.target}, "
        f"events to {destination}; "
        "follow them with 'sightline events'; the dashboard is http://127.0.0.1:8265 (its token: ray get-auth-token)",
        markup=False,
    )
    environment = dict(process_environment())
    token = None
    if not joins_a_cluster(environment):
        check_sessions(environment)
        token = ray_token.token_file(environment, settings.state_dir)
    if note := second_shell(environment, token):
        out.print(note, markup=False)
    if token is not None:
        environment[ray_token.PATH] = str(token)
    raise typer.Exit(serve_run(serve_config, settings, environment, listen))


def second_shell(environment: Mapping[str, str], token: Path | None = None) -> str:
    """Return what Ray's own commands need in another shell; empty where Ray asks for no token.

    Ray 2.60 turns its token authentication on for a local cluster, and its command line does not know of that.
    ``token`` is the file of Ray's token, where that is not in the home directory.
    """
    if not ray_token.asks_for_token(environment):
        return ""
    needed = "RAY_AUTH_MODE=token"
    where = ""
    if token is not None:
        needed += f" and {ray_token.PATH}={token}"
        where = "" if environment.get(ray_token.PATH) else "; the home directory, where Ray keeps it, cannot be written"
    return f"in another shell, 'serve status', 'ray status' and Ray's other commands need {needed}{where}"


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
    """Check, before anything starts here, that the model exists and can be used; a hub name is downloaded, once.

    So are the labels that cameras want kept.

    In a cluster that runs already the model is on the nodes of the replicas, which check it themselves.

    Raises:
        SettingsError: there is no such model, it does not have the pinned SHA-256, or a camera's label.
        ModelUnavailable: it could not be downloaded, or cannot be used.
    """
    detector = settings.detector
    bundled = detector.model == str(DEMO_MODEL) and detector.model_sha256 is None
    wanted = {camera.id: camera.wanted for camera in settings.cameras if camera.classes}
    if (bundled and not wanted) or joins_a_cluster(environment):
        return
    # Here: it loads torch, which takes seconds.
    from app.detection import DetectorOptions
    from app.detection.models.check import check_model
    from app.detection.models.files import check_pin, find_model

    check_pin(find_model(detector.model), detector.model_sha256)
    check_model(DetectorOptions.of(detector), wanted)


def serve_run(config_path: Path, settings: Settings, environment: Mapping[str, str], listen: str | None = None) -> int:
    """Run ``serve run`` in the foreground until it ends, and return its exit status.

    Ctrl-C and SIGTERM are forwarded to it as one SIGINT. ``listen`` is the address that cameras and browsers reach, and
    replaces the configuration's own; Ray's own processes listen where they did.

    Raises:
        SettingsError: ``listen`` is not an IP address.
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
    with tempfile.TemporaryDirectory(prefix="sightline-") as folder:  # mode 0700
        file = Path(folder) / "serve_config.yaml"
        started = with_environment(config, environment, settings.cameras, Path(folder)) if joins else config
        file.write_text(yaml.safe_dump(started, sort_keys=False))
        return _foreground([str(file)], tuned)


def _foreground(arguments: list[str], environment: Mapping[str, str]) -> int:
    # 'serve run', but that it stops the cameras before anything else.
    command = [sys.executable, "-m", "deployments.driver", "run", *arguments]
    # A session of its own: the terminal's Ctrl-C reaches only this process, and the child gets exactly one interrupt,
    # for a second one would abort its shutdown.
    process: subprocess.Popen[bytes] | None = None
    ended, forwarded = threading.Event(), threading.Event()

    def forward(_number: int = 0, _frame: FrameType | None = None) -> None:
        ended.set()
        if process is not None and not forwarded.is_set():
            forwarded.set()
            process.send_signal(signal.SIGINT)

    # A closed terminal (SIGHUP) ends the system as well.
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = {number: signal.signal(number, forward) for number in numbers}
    try:
        process = subprocess.Popen(command, env=dict(environment), start_new_session=True, preexec_fn=_end_with_parent)
        if ended.is_set():
            forward()  # the signal came while the process was being started
        status = process.wait()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    return 0 if ended.is_set() else status


def _end_with_parent() -> None:
    # A shell starts background jobs with SIGINT ignored, and that would be inherited.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    # Where this process is killed, the system ends as by Ctrl-C (prctl(2), PR_SET_PDEATHSIG).
    ctypes.CDLL(None).prctl(1, signal.SIGINT)
