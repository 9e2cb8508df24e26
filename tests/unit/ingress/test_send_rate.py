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
            if wait_s is None:
                self.rate.lost()
            else:
                self.rate.answered(f"cam-{self._sent % self._cameras}", wait_s + work_s, work_s, budget_s=0.17)
        return self.rate.fps


@pytest.fixture
def service() -> Service:
    made = Service()
    made.run(4, wait_s=0.005)
    return made


def test_while_frames_hardly_wait_no_camera_is_limited(service: Service):
    assert service.rate.fps == MAX_FPS


@pytest.mark.parametrize("wait_s", [0.12, None])
def test_long_waits_and_lost_frames_lower_it_below_what_the_cameras_send(service: Service, wait_s: float | None):
    assert 8 < service.run(0.5, wait_s) < 10
    assert 6 < service.run(1, wait_s) < 8


@pytest.mark.parametrize("wait_s", [0.12, None])
def test_what_a_lower_rate_does_not_help_against_limits_no_camera_for_long(service: Service, wait_s: float | None):
    assert service.run(1, wait_s) < 10
    assert service.run(4, wait_s) == MAX_FPS
    assert service.run(10, wait_s) == MAX_FPS


def test_what_a_lower_rate_helps_against_is_lowered_as_far_as_it_helps():
    service = Service()
    service.run(4, wait_s=0.005)
    low = MAX_FPS
    for _ in range(200):  # where more than 8 a second come of each camera, they wait
        low = min(low, service.run(0.2, wait_s=0.1 if service.rate.fps > 8 else 0.005))
    assert 7 < low < 8


def test_the_longer_the_waits_the_faster_it_falls(service: Service):
    gentle = Service()
    gentle.run(4, wait_s=0.005)
    assert service.run(1, wait_s=0.14) < gentle.run(1, wait_s=0.08) < 10


def test_what_always_takes_long_limits_no_camera():
    assert Service().run(20, wait_s=0.15) == MAX_FPS


def test_a_slow_model_alone_limits_no_camera(service: Service):
    assert service.run(10, wait_s=0.01, work_s=0.15) == MAX_FPS


def test_once_frames_wait_no_more_it_comes_back_within_three_seconds(service: Service):
    low = service.run(1, wait_s=None)
    assert low < 9
    assert service.run(3, wait_s=0.005) >= 10


def test_a_stop_of_two_seconds_costs_little_of_it(service: Service):
    service.now += 2
    for _ in range(8):
        service.rate.lost()
    assert service.rate.fps > 8


@pytest.mark.parametrize("silence_s", [1, 30, 600])
def test_slow_frames_after_a_silence_do_not_make_it_fall_to_nothing(silence_s: float):
    service = Service()
    service.now += silence_s
    assert service.run(1, wait_s=0.15) == MAX_FPS
    service.run(4, wait_s=0.005)
    service.now += silence_s
    assert min(service.run(0.1, wait_s=0.15) for _ in range(10)) > 7


def test_one_frame_that_is_lost_says_nothing(service: Service):
    service.run(0.1, wait_s=0.005)
    service.rate.lost()
    assert service.run(1, wait_s=0.005) == MAX_FPS


def test_it_never_falls_to_nothing(service: Service):
    assert service.run(60, wait_s=None) > 0
