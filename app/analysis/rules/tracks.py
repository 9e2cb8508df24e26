"""What the rules remember of tracks: votes for the class and the samples of the last 1.5 seconds."""

from __future__ import annotations

from app.analysis.rules.state import Sample, Track, make_track

HISTORY_MS = 1500
"""For the slowest of the speeds (``wrong_way``, ``congestion``)."""
CONFIDENCE_MS = 1000
_MAX_CLASSES = 8
"""Classes of one track that are counted; a detector rarely has more than three for one object."""


def begin_track(label: str, sample: Sample) -> Track:
    """Return a track that is seen for the first time."""
    return Track(label, ((label, 1),), (sample,))


def follow_track(track: Track, label: str, sample: Sample) -> Track:
    """Return a track with one more sample."""
    voted, votes, samples = track
    if len(votes) == 1 and label == voted:
        votes = ((label, votes[0][1] + 1),)
    else:
        voted, votes = _vote(votes, label)
    oldest = sample.time_ms - HISTORY_MS
    first, most = 0, len(samples) - 2
    while first < most and samples[first].time_ms < oldest:
        first += 1
    return make_track((voted, votes, (*samples[first:], sample)))


def mean_confidence(track: Track) -> float:
    """Return the mean confidence over the second that ends with the last sample."""
    since = track.samples[-1].time_ms - CONFIDENCE_MS
    recent = [sample.confidence for sample in track.samples if sample.time_ms > since]
    return sum(recent) / len(recent)


def _vote(votes: tuple[tuple[str, int], ...], label: str) -> tuple[str, tuple[tuple[str, int], ...]]:
    counts = dict(votes)
    if label in counts or len(counts) < _MAX_CLASSES:
        counts[label] = counts.get(label, 0) + 1
    return max(counts, key=counts.__getitem__), tuple(counts.items())
