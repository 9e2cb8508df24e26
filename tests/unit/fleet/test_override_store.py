"""The file that keeps changes made at run time: whole, private, and one system's."""

from __future__ import annotations

import json
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from app.errors import ChangeNotKept
from app.fleet import Overrides, camera_store, describe_overrides, rule_store
from app.settings.rule_lists import configure_rules, parse_rule
from tests.support.fleet import camera, configured

CHANGES = (
    Overrides()
    .with_entry(
        camera("c", "rtsp://viewer:pa55@gate.example/1?transport=udp", fps=2, resources={"edge": 0.5}), configured()
    )
    .without_entry("a", configured(camera("a")))
)


def test_what_is_kept_is_read_again_with_its_secrets(tmp_path: Path):
    camera_store(tmp_path).save(CHANGES)
    read = camera_store(tmp_path).load()
    assert read == CHANGES
    kept = read.by_id["c"].desired
    assert kept is not None
    assert "pa55" in kept.url.reveal()


def test_only_its_owner_may_read_the_file_and_no_other_file_is_left(tmp_path: Path):
    kept = camera_store(tmp_path)
    kept.save(CHANGES)
    kept.path.chmod(0o644)
    kept.save(CHANGES)
    assert stat.S_IMODE(kept.path.stat().st_mode) == 0o600
    assert list(tmp_path.iterdir()) == [kept.path]


def test_a_folder_that_is_not_there_is_made_for_its_owner_alone(tmp_path: Path):
    kept = camera_store(tmp_path / "state" / "sightline")
    assert kept.acquire()
    assert stat.S_IMODE(kept.path.parent.stat().st_mode) == 0o700
    assert kept.load() == Overrides()
    kept.close()


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", '{"version": 2, "cameras": {}}', '{"version": 1}', '{"version": 1, "cameras": {"a": 5}}',
     '{"version": 1, "cameras": {"a": {"over": 7, "wanted": null}}}',
     '{"version": 1, "cameras": {"a": {"over": null, "wanted": {"url": "ftp://x"}}}}', "\udcff"],
)  # fmt: skip
def test_a_file_that_cannot_be_understood_is_reported_and_stays_as_it_is(tmp_path: Path, text: str):
    kept = camera_store(tmp_path)
    kept.path.write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(ChangeNotKept, match="repair it, or move it away"):
        kept.load()
    assert kept.path.read_bytes() == text.encode(errors="surrogateescape")


def test_where_nothing_can_be_written_the_reason_is_reported_and_what_was_there_stays(tmp_path: Path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ChangeNotKept, match="cannot be used"):
        camera_store(tmp_path / "file").acquire()
    with pytest.raises(ChangeNotKept, match="cannot be written"):
        camera_store(tmp_path / "nowhere").save(CHANGES)


def test_a_second_system_does_not_get_the_folder_until_the_first_has_ended(tmp_path: Path):
    code = (
        "import sys, pathlib; from app.fleet import camera_store\n"
        "print(camera_store(pathlib.Path(sys.argv[1])).acquire(), flush=True); sys.stdin.read()"
    )
    other = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert other.stdout is not None
    assert other.stdout.readline() == "True\n"
    mine = camera_store(tmp_path)
    assert not mine.acquire()
    other.kill()
    other.communicate()
    assert mine.acquire()
    mine.close()


def test_a_start_tells_of_what_was_kept(tmp_path: Path):
    kept = camera_store(tmp_path)
    assert describe_overrides(kept) == ""
    kept.save(CHANGES)
    assert describe_overrides(kept) == f" (with 2 changed at run time, kept in {kept.path})"
    kept.path.write_text("{")
    assert "repair it, or move it away" in describe_overrides(kept)


def test_the_file_is_json_with_a_version(tmp_path: Path):
    kept = camera_store(tmp_path)
    kept.save(CHANGES)
    content = json.loads(kept.path.read_text())
    assert content["version"] == 1
    assert content["cameras"]["a"]["wanted"] is None


def test_changes_of_rules_are_kept_in_a_file_of_their_own(tmp_path: Path):
    night = {"id": "night", "type": "intrusion", "zone": [[0, 0], [1, 0], [1, 1]], "schedule": {"from": "22:00"}}
    configured_rules = configure_rules([{"id": "stop", "type": "stopped"}])
    changes = Overrides().with_entry(parse_rule(night), configured_rules).without_entry("stop", configured_rules)
    kept = rule_store(tmp_path)
    kept.save(changes)
    assert kept.load() == changes
    assert kept.path.name == "rules.json"
    assert camera_store(tmp_path).load() == Overrides()
    assert camera_store(tmp_path).acquire()
    assert kept.acquire()
