"""Generates the protobuf code of this folder from ``proto/``: ``python -m app.rpc.generate [--check]``.

The generated modules import each other as ``sightline.inference.v1``; here they are below ``app.rpc``, so that
name is rewritten. Needs the ``dev`` extra; the generated code itself does not.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PROTO = Path("sightline/inference/v1/inference.proto")
PACKAGE = "sightline.inference.v1"


def generate(into: Path) -> list[Path]:
    """Write the generated modules below ``into``; return their paths relative to it.

    Raises:
        RuntimeError: protoc rejects the file.
    """
    from grpc_tools import protoc  # type: ignore[import-untyped]

    outputs = [f"--{kind}_out={into}" for kind in ("python", "grpc_python", "mypy", "mypy_grpc")]
    if protoc.main(["protoc", f"-I{ROOT / 'proto'}", f"-I{_well_known_types()}", *outputs, str(PROTO)]):
        raise RuntimeError("protoc rejects the proto file")
    written = sorted(path for path in (into / "sightline").rglob("*") if path.is_file())
    for path in written:
        text = path.read_text()
        for package in ("sightline.inference.v1", "sightline.inference", "sightline"):
            text = text.replace(f"from {package} import", f"from app.rpc.{package} import")
        text = text.replace("import sightline.inference", "import app.rpc.sightline.inference")
        # The messages' own __module__: Serve's Python proxy pickles them by it.
        path.write_text(text.replace(f"'{PACKAGE}.inference_pb2'", f"'app.rpc.{PACKAGE}.inference_pb2'"))
    return [path.relative_to(into) for path in written]


def _well_known_types() -> Path:
    import grpc_tools

    return Path(grpc_tools.__file__).parent / "_proto"


def stale() -> list[str]:
    """Return the committed files that differ from what the proto file generates now."""
    here = Path(__file__).parent
    with tempfile.TemporaryDirectory() as folder:
        fresh = generate(Path(folder))
        return [
            str(path)
            for path in fresh
            if not (here / path).is_file() or (here / path).read_text() != (Path(folder) / path).read_text()
        ]


def main() -> int:
    """Generate; or with ``--check`` return exit status 1 where the committed code is out of date."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="only report whether the code is current")
    if not parser.parse_args().check:
        generate(Path(__file__).parent)
        return 0
    for path in (outdated := stale()):
        print(f"out of date: app/rpc/{path}; run python -m app.rpc.generate", file=sys.stderr)
    return 1 if outdated else 0


if __name__ == "__main__":
    raise SystemExit(main())
