"""Starting the whole system: what ``sightline up`` does around ``serve run``."""

from __future__ import annotations

import ctypes
import importlib.util
import ipaddress
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

import yaml

from app.errors import SettingsError
from app.file_places import find_file
from app.handing_on import hand_on
from app.live_settings import check_user_configs
from app.scaling import ScalingNumbers
from app.settings import DEMO_MODEL, Settings, load_settings

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
LOOPBACK: Mapping[str, str] = {
    # Ray then takes 127.0.0.1 for this machine's address, and its own processes (GCS, raylet, workers, agents) listen
    # there and not on every interface. Meant for desktops, as the name says, but read everywhere.
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
}
"""The same, where the cluster that is started is this machine alone."""


WHOLE = ("ray", "torch", "ultralytics", "kafka", "fastapi")
"""What an install for cameras on the edge has none of (``configs/edge/requirements.txt``)."""


def missing_packages() -> list[str]:
    """Tell which packages of the whole install are not here; none is imported for that."""
    return [name for name in WHOLE if importlib.util.find_spec(name) is None]


def read_serve_config(path: Path) -> dict[str, Any]:
    """Read a Serve configuration.

    Raises:
        SettingsError: it cannot be read, or has no applications.
    """
    try:
        config = yaml.safe_load(path.read_text())
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"Serve configuration {str(path)!r} cannot be read: {error}") from None
    except yaml.YAMLError as error:
        reason = " ".join(str(error).split())
        raise SettingsError(f"Serve configuration {str(path)!r} is not YAML: {reason}") from None
    applications = config.get("applications") if isinstance(config, dict) else None
    if not isinstance(applications, list) or not applications:
        raise SettingsError(f"Serve configuration {str(path)!r} has no list of applications")
    for application in applications:
        arguments = (application.get("args") or {}) if isinstance(application, dict) else None
        settings = arguments.get("settings") if isinstance(arguments, dict) else 0
        if not isinstance(settings, (str, type(None))):
            raise SettingsError(
                f"Serve configuration {str(path)!r}: each application is a mapping, with args.settings a path"
            )
    for options in ("grpc_options", "http_options"):
        if not isinstance(config.get(options) or {}, dict):
            raise SettingsError(f"Serve configuration {str(path)!r}: {options} must be a mapping")
    return dict(config)


@dataclass(frozen=True)
class ServePorts:
    """Where Serve will listen on this machine."""

    grpc: int
    http: int


def ports_of(config: Mapping[str, Any]) -> ServePorts:
    """Give the ports of a Serve configuration; where it names none, Serve's own.

    Raises:
        SettingsError: one of them is no port.
    """
    found = {}
    for options, usual in (("grpc_options", 9000), ("http_options", 8000)):
        port = (config.get(options) or {}).get("port", usual)
        if not isinstance(port, int) or not 0 < port < 65536:
            raise SettingsError(f"{options}.port: {port!r} is no port; allowed are 1 to 65535")
        found[options] = port
    return ServePorts(grpc=found["grpc_options"], http=found["http_options"])


def settings_of(config: dict[str, Any], environment: Mapping[str, str]) -> Settings:
    """Resolve the settings as the applications of a Serve configuration will.

    Raises:
        SettingsError: one of them is wrong, or the applications name different settings files.
    """
    files = {(app.get("args") or {}).get("settings") for app in config["applications"]}
    if len(files) > 1:
        told = ", ".join(sorted(map(str, files)))
        raise SettingsError(f"the applications name different settings files ({told}); allowed is one for all")
    (file,) = files
    check_user_configs(config)
    for application in config["applications"]:
        if (numbers := (application.get("args") or {}).get("scaling")) is not None:
            ScalingNumbers.parse(numbers)
    return load_settings(environment, Path(file) if file else None)


def joins_a_cluster(environment: Mapping[str, str]) -> bool:
    """Tell whether ``serve run`` will join a running Ray cluster, where this shell's variables do not reach."""
    return bool(environment.get("RAY_ADDRESS")) or Path("/tmp/ray/ray_current_cluster").exists()  # noqa: S108


def find_the_model(settings: Settings, environment: Mapping[str, str]) -> None:
    """See to it, before anything starts here, that the model is there; a hub name is downloaded, once.

    On a cluster that runs already the model lies where its replicas run, and they tell.

    Raises:
        SettingsError: there is no such model, or it is not the pinned one.
        ModelUnavailable: it could not be downloaded.
    """
    detector = settings.detector
    bundled = detector.model == str(DEMO_MODEL) and detector.model_sha256 is None
    if bundled or joins_a_cluster(environment):
        return
    from app.detection.model_files import check_pin, find_model  # here: it loads torch, which takes seconds

    check_pin(find_model(detector.model), detector.model_sha256)


def listening_on(config: Mapping[str, Any], host: str | None) -> dict[str, Any]:
    """Give a Serve configuration whose HTTP and gRPC are bound to ``host``; none: as the configuration says.

    Raises:
        SettingsError: it is no IP address.
    """
    if host is None:
        return dict(config)
    try:
        ipaddress.ip_address(host)
    except ValueError:
        raise SettingsError(
            f"--listen: {host!r} is no address; allowed are an IP address of this machine, and 0.0.0.0 for all of them"
        ) from None
    return {**config, "http_options": {**(config.get("http_options") or {}), "host": host}}


def serve_run(config_path: Path, settings: Settings, environment: Mapping[str, str], listen: str | None = None) -> int:
    """Run ``serve run`` in the foreground until it ends; give its exit status.

    Ctrl-C reaches it by the terminal, a SIGTERM to us is passed on as the same wish. ``listen`` is the address that
    cameras and browsers reach, in the place of the configuration's own; Ray's own processes stay where they are.

    Raises:
        SettingsError: ``listen`` is no IP address.
    """
    tuned = {**TUNED, **environment}
    written = read_serve_config(config_path)
    config = listening_on(written, listen)
    joins = joins_a_cluster(environment)
    if not joins and config == written:
        return _foreground([str(config_path)], {**LOOPBACK, **tuned})
    with tempfile.TemporaryDirectory(prefix="sightline-") as folder:  # its owner's alone
        file = Path(folder) / "serve_config.yaml"
        handed = hand_on(config, environment, settings.cameras, Path(folder)) if joins else config
        file.write_text(yaml.safe_dump(handed, sort_keys=False))
        return _foreground([str(file)], tuned if joins else {**LOOPBACK, **tuned})


def find_serve_config(given: str) -> Path:
    """Find the Serve configuration: as given, else in the checkout.

    Raises:
        SettingsError: it is nowhere.
    """
    path = find_file(given)
    if not path.is_file():
        raise SettingsError(f"--config: {given!r} is not there")
    return path


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
