"""Where Ray's token is kept for those whose home cannot be written."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from app.cli.ray_token import FILE, PATH, token_file
from app.cli.up import second_shell
from app.errors import SettingsError


@pytest.fixture
def no_home(tmp_path: Path) -> dict[str, str]:
    """The environment of a user whose home is below a file: nothing can be made there, not even by root."""
    (tmp_path / "file").touch()
    return {"HOME": str(tmp_path / "file" / "home")}


def asked(environment: dict[str, str], state: Path) -> Path | None:
    """Ask in this process, whose home is the environment's."""
    before = os.environ["HOME"]
    os.environ["HOME"] = environment.get("HOME", before)
    try:
        return token_file(environment, state)
    finally:
        os.environ["HOME"] = before


def test_where_the_home_can_be_written_ray_sees_to_it(tmp_path: Path):
    assert asked({"HOME": str(tmp_path)}, tmp_path / "state") is None
    (tmp_path / ".ray").mkdir()
    (tmp_path / ".ray" / "auth_token").write_text("known")
    assert asked({"HOME": str(tmp_path)}, tmp_path / "state") is None
    assert not (tmp_path / "state").exists()


def test_where_it_cannot_the_token_is_made_in_the_state_folder_once_for_its_owner_alone(
    no_home: dict[str, str], tmp_path: Path
):
    file = asked(no_home, tmp_path / "state")
    assert file == tmp_path / "state" / FILE
    token = file.read_text()
    assert len(token) == 64
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert asked(no_home, tmp_path / "state") == file
    assert file.read_text() == token


def test_a_file_that_is_named_is_made_where_it_is_missing(tmp_path: Path):
    named = tmp_path / "secrets" / "token"
    assert asked({PATH: str(named)}, tmp_path / "state") == named
    assert named.read_text()


@pytest.mark.parametrize("given", [{"RAY_AUTH_TOKEN": "mine"}, {"RAY_AUTH_MODE": "disabled"}])
def test_who_gives_a_token_or_wants_none_gets_none(given: dict[str, str], no_home: dict[str, str], tmp_path: Path):
    assert asked({**no_home, **given}, tmp_path / "state") is None


def test_a_folder_that_cannot_be_written_either_is_one_line(no_home: dict[str, str], tmp_path: Path):
    with pytest.raises(SettingsError, match=f"{PATH}: Ray's token cannot be kept in .*: File exists"):
        asked(no_home, tmp_path / "file")


def test_the_first_lines_name_what_other_shells_need():
    assert second_shell({}, None).endswith("need RAY_AUTH_MODE=token")
    assert second_shell({"RAY_AUTH_MODE": "disabled"}, None) == ""
    line = second_shell({}, Path("/state/ray_auth_token"))
    assert "RAY_AUTH_MODE=token and RAY_AUTH_TOKEN_PATH=/state/ray_auth_token; the home directory" in line
    assert second_shell({PATH: "/t"}, Path("/t")).endswith("RAY_AUTH_MODE=token and RAY_AUTH_TOKEN_PATH=/t")
