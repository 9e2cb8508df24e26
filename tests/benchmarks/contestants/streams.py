"""(c) Ultralytics' own multi-source streaming: one process whose threads read the sources, a Kafka send a result."""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path

from tests.benchmarks.contestants.events import Events, now_ns


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--recording", required=True)
    parser.add_argument("--model", required=True, help="what predict is given: the file or folder of the form compared")
    parser.add_argument("--image-size", type=int, required=True)
    parser.add_argument("--cameras", type=int, required=True)
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("--warm-up", type=float, default=3.0)
    parser.add_argument("--bootstrap", required=True)
    parser.add_argument("--topic", default="bench")
    given = parser.parse_args()
    from app.detection.ultralytics_guard import import_ultralytics

    import_ultralytics()
    from ultralytics import YOLO

    model, events = YOLO(given.model, task="detect"), Events(given.bootstrap, given.topic)
    with tempfile.TemporaryDirectory() as folder:
        sources = Path(folder) / "list.streams"
        sources.write_text("\n".join([str(Path(given.recording).absolute())] * given.cameras))
        done, began = 0, time.monotonic()
        began += given.warm_up
        while (now := time.monotonic()) < began + given.seconds:  # a recording ends: it is opened again
            for number, result in enumerate(
                model.predict(
                    str(sources), stream=True, stream_buffer=True, imgsz=given.image_size, device="cpu", verbose=False
                )
            ):
                boxes = result.boxes.xyxy.numpy().ravel().tolist()
                events.send(f"streams-{number % given.cameras}", now_ns(), boxes, result.speed["inference"])
                now = time.monotonic()
                done += now >= began
                if now >= began + given.seconds:
                    break
    events.close()
    print(json.dumps({"frames_per_s": done / (now - began)}))


if __name__ == "__main__":
    main()
