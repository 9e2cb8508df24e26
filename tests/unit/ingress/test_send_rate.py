"""How often the service asks its cameras to send."""

from __future__ import annotations

import pytest

from app.ingress.send_rate import MAX_FPS, SendRate


class Service:
    """Cameras that send as often as they are asked to, at most 10 times a second, and a clock."""

    def __init__(self, cameras: int = 8, fps: float = 10.0) -> None:
        self.now = 100.0
        self.rate = SendRate(lambda: self.now)
        self._cameras = cameras
        self._fps = fps
        self._sent = 0

    def run(self, seconds: float, wait_s: float | None, work_s: float = 0.02) -> float:
        """Have each camera's frames wait so long, ``None``: be lost; return the rate after that."""
        end = self.now + seconds
        while self.now < end:
            self.now += 1 / min(self._fps, self.rate.fps) / self._cameras
            self._sent += 1
            self.rate.arrived(f"cam-{self._sent % self._cameras}")
            if wait_s is None:
                self.rate.lost()
            else:
                self.rate.answered(wait_s + work_s, work_s, budget_s=0.17)
        return self.rate.fps


@pytest.fixture
def service() -> Service:
    made = Service()
    made.run(3, wait_s=0.005)
    return made


def test_while_frames_hardly_wait_no_camera_is_limited(service: Service):
    assert service.rate.fps == MAX_FPS


@pytest.mark.parametrize("wait_s", [0.12, None])
def test_long_waits_and_lost_frames_lower_it_below_what_the_cameras_send(service: Service, wait_s: float | None):
    assert 5 < service.run(0.5, wait_s) < 10
    assert service.run(3, wait_s) < 5


def test_the_longer_the_waits_the_faster_it_falls(service: Service):
    gentle = Service()
    gentle.run(3, wait_s=0.005)
    assert service.run(1, wait_s=0.14) < gentle.run(1, wait_s=0.08) < 10


def test_what_always_takes_long_limits_no_camera():
    assert Service().run(20, wait_s=0.15) == MAX_FPS


def test_a_slow_model_alone_limits_no_camera(service: Service):
    assert service.run(10, wait_s=0.01, work_s=0.15) == MAX_FPS


def test_once_frames_wait_no_more_it_comes_back_within_three_seconds(service: Service):
    low = service.run(2, wait_s=None)
    assert low < 6
    assert service.run(3, wait_s=0.005) >= 10


def test_a_stop_of_two_seconds_costs_little_of_it(service: Service):
    service.now += 2
    for _ in range(8):
        service.rate.arrived("cam")
        service.rate.lost()
    assert service.rate.fps > 8


def test_one_frame_that_is_lost_says_nothing(service: Service):
    service.run(0.1, wait_s=0.005)
    service.rate.lost()
    assert service.run(1, wait_s=0.005) == MAX_FPS


def test_it_never_falls_to_nothing(service: Service):
    assert service.run(60, wait_s=None) > 0
