"""Makes the README's pictures of a running system: ``python -m tests.e2e.screenshot``.

Starts the system as shipped, on free ports, waits until it has settled, writes ``configs/pictures/page.png`` (the live
page in Chromium) and prints ``sightline status``.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from app.core.ports import free_ports
from tests.support.browser import browser
from tests.support.paths import ROOT
from tests.support.system import BIN, running
from tests.support.watched_system import apart, on_ports

SETTLED_S = 45
"""How long it runs before it is looked at: the first frames of a fresh system are slow."""


def main(folder: Path) -> None:
    """Start, look, end."""
    pictures = ROOT / "configs" / "pictures"
    grpc_port, http_port = free_ports(2)
    config = on_ports(folder, grpc_port, http_port)
    shell = apart(folder, grpc_port)
    with running([str(BIN / "serve"), "run", str(config)], folder, **shell) as system, browser(folder) as page:
        system.wait_for_line("events/s", 240)
        page.size(1280, 760)
        page.scheme("light")
        page.open(f"http://127.0.0.1:{http_port}/")
        page.wait(
            f"performance.now() > {SETTLED_S * 1000} && "
            "[...document.querySelectorAll('article')].every(tile => tile.querySelector('svg rect.box'))",
            SETTLED_S + 60,
        )
        page.picture(pictures / "page.png")
        status = subprocess.run(
            [str(BIN / "sightline"), "status", "--config", str(config)], check=True, capture_output=True, text=True
        )
        print(status.stdout)
        if page.faults:
            sys.exit(f"the page is at fault: {page.faults}")


if __name__ == "__main__":
    work = Path(tempfile.mkdtemp(prefix="sls", dir="/tmp"))  # Ray keeps sockets there: its path must be short
    try:
        main(work)
    finally:
        shutil.rmtree(work, ignore_errors=True)
