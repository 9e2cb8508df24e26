"""What a deployment's ``user_config`` says of cameras: the part of ``serve deploy`` that restarts nothing."""

from __future__ import annotations

from app.configured_cameras import CamerasGiven
from app.errors import SettingsError
from app.settings import MOST_BUDGET_MS, cameras_file_or_list


def given_by(user_config: object, usual: CamerasGiven, *, by_environment: bool) -> CamerasGiven:
    """Tell where the cameras are written.

    Args:
        user_config: a mapping that may have the key ``cameras``: the path of a cameras file, ``id=url,id=url``, or a
            list as such a file holds it.
        usual: where they are written otherwise.
        by_environment: whether that is ``SIGHTLINE_CAMERAS``, which wins.

    Raises:
        SettingsError: it is something else.
    """
    if not isinstance(user_config, dict | None) or set(user_config or {}) - {"cameras", "latency_budget_ms"}:
        raise SettingsError("CameraManager's user_config: allowed is a mapping of cameras and latency_budget_ms")
    wanted = (user_config or {}).get("cameras")
    if wanted is None or by_environment:
        return usual
    if isinstance(wanted, str):
        return cameras_file_or_list(wanted)
    if isinstance(wanted, list):
        return CamerasGiven(entries=tuple(wanted))
    raise SettingsError(
        f"CameraManager's user_config.cameras: a {type(wanted).__name__}; allowed are a cameras file's path, "
        "id=url,id=url, and a list of cameras"
    )


def budget_by(user_config: object, usual_ms: int, *, by_environment: bool) -> int:
    """Tell the latency budget of every frame, in milliseconds.

    Args:
        user_config: a mapping that may have the key ``latency_budget_ms``.
        usual_ms: the budget otherwise.
        by_environment: whether that is ``SIGHTLINE_LATENCY_BUDGET_MS``, which wins.

    Raises:
        SettingsError: it is something else.
    """
    wanted = user_config.get("latency_budget_ms") if isinstance(user_config, dict) else None
    if wanted is None or by_environment:
        return usual_ms
    if not isinstance(wanted, int) or isinstance(wanted, bool) or not 1 <= wanted <= MOST_BUDGET_MS:
        raise SettingsError(
            f"CameraManager's user_config.latency_budget_ms: {wanted!r}; allowed are 1 to {MOST_BUDGET_MS}"
        )
    return wanted
