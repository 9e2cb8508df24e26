"""Writes serve_config.yaml into the RayService: ``python -m tests.support.manifest``, after each change of it."""

from __future__ import annotations

import re

from tests.support.paths import ROOT

MANIFEST = ROOT / "configs" / "kubernetes" / "rayservice.yaml"
_KEY = "  serveConfigV2: |\n"
_NEXT = "\n  rayClusterConfig:\n"
_HOST = re.compile(r"^  host: 127\.0\.0\.1 .*$", re.MULTILINE)
EVERYWHERE = "  host: 0.0.0.0                  # every interface of the pod: the NetworkPolicy says who may come"


def renewed(manifest: str, serve_config: str) -> str:
    """Return the manifest with the Serve configuration as it is now, comments and all, but for where it listens."""
    body, count = _HOST.subn(EVERYWHERE, serve_config)
    assert count == 1, "serve_config.yaml listens on 127.0.0.1"
    before, rest = manifest.split(_KEY)
    _, after = rest.split(_NEXT)
    indented = "".join(f"    {line}" if line.strip() else line for line in body.splitlines(keepends=True))
    return before + _KEY + indented + _NEXT + after


if __name__ == "__main__":
    MANIFEST.write_text(renewed(MANIFEST.read_text(), (ROOT / "serve_config.yaml").read_text()))
