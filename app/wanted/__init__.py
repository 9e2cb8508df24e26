"""Which cameras there should be, and how what runs is brought to it."""

from app.wanted.changes import Change, Changes, Origin, WantedCamera
from app.wanted.fleet import Fleet
from app.wanted.following import Following
from app.wanted.kept import KeptChanges, told_of_changes
from app.wanted.roster import Keeper, Roster
from app.wanted.silence import Silence

__all__ = [
    "Change",
    "Changes",
    "Fleet",
    "Following",
    "Keeper",
    "KeptChanges",
    "Origin",
    "Roster",
    "Silence",
    "WantedCamera",
    "told_of_changes",
]
