"""HttpSource: an ``http(s)://`` address; its first bytes say what it is."""

from __future__ import annotations

import re
from collections.abc import Mapping

from app.cameras.sources.decoder_choice import DecoderChoice
from app.cameras.sources.http_client import Answer, HttpClient, ProtocolFault
from app.cameras.sources.jpeg_splitter import START
from app.cameras.sources.live import LiveSource
from app.cameras.sources.mjpeg import MjpegSource
from app.cameras.sources.snapshots import SnapshotSource
from app.cameras.sources.source import FrameTime, RawFrame, Source
from app.cameras.sources.still import is_picture
from app.cameras.sources.timeouts import Timeouts
from app.cameras.sources.video import VideoSource
from app.core.clock import Clock
from app.settings.source_url import SourceUrl

_HEAD_BYTES = 512
"""So many bytes are looked at, at most, to tell pictures, playlists and videos apart."""
_SIGNATURE_BYTES = 12
_PLAYLIST_BYTES = 1 << 20
_PART_TYPE = re.compile(rb"content-type\s*:\s*image/", re.IGNORECASE)
_TARGET = re.compile(r"#EXT-X-TARGETDURATION:\s*(\d+)")
_USUAL_TARGET_S = 10.0
"""Of a playlist that names other playlists, which have the length of the segments."""
_MOST_TARGET_S = 60.0
_HLS: Mapping[str, str] = {
    # Cameras and relays name segments as they like: FFmpeg takes only names that it knows otherwise.
    "allowed_extensions": "ALL",
    "allowed_segment_extensions": "ALL",
    "extension_picky": "0",
}
_FLV: Mapping[str, str] = {
    # Its header says which tracks may come, and FFmpeg waits for each of them: the first picture is enough.
    "probesize": "32",
    "analyzeduration": "1",
    "fpsprobesize": "0",
}

_FLV_WITH_SOUND: Mapping[str, str] = {"probesize": "500000", "analyzeduration": "2000000", "fpsprobesize": "0"}
"""Where sound comes first, FFmpeg must wait for the description of the pictures."""
_FLV_HEADER_BYTES, _FLV_TAG_BYTES, _FLV_MOST_BYTES = 13, 11, 1 << 20
_FLV_SOUND, _FLV_PICTURE = 8, 9


class HttpSource:
    """Motion JPEG, snapshots, HLS, FLV, another stream without an end, or a recording; opening it tells which.

    Pictures are read by our own client on the connection that asked; for everything else FFmpeg opens its own.
    """

    def __init__(
        self, url: SourceUrl, fps: float, clock: Clock, timeouts: Timeouts, choice: DecoderChoice | None = None
    ) -> None:
        self._url = url
        self._fps = fps
        self._clock = clock
        self._timeouts = timeouts
        self._choice = choice
        self._inner: Source | None = None
        self._client = HttpClient(url, timeouts.open_s, clock.monotonic)
        self._interrupted = False

    @property
    def live(self) -> bool:
        """Whether it is a stream whose frames come by themselves."""
        return self._inner is None or self._inner.live

    def open(self) -> None:
        """Connect, and find out what it is.

        Raises:
            SourceRefused: the account is missing or refused.
            SourceUnavailable: nobody answers, or there is no video.
        """
        head = b""
        try:
            answer = self._client.get()
            head = self._read_head(answer)
            if _holds_pictures(answer, head):
                self._adopt(self._open_pictures(answer, head))
                return
        except ProtocolFault:
            pass  # FFmpeg knows servers that do not quite speak HTTP
        is_playlist = head.lstrip(b"\xef\xbb\xbf \r\n").startswith(b"#EXTM3U")
        playlist = self._read_playlist(head) if is_playlist else ""
        if not head.startswith(b"FLV"):
            self._client.close()
        if is_playlist and "#EXT-X-ENDLIST" not in playlist:
            self._adopt(self._hls(playlist))
        elif is_playlist:
            self._adopt(self._recording(_HLS))
        elif head.startswith(b"FLV"):
            options = _FLV if self._begins_with_pictures(head) else _FLV_WITH_SOUND
            self._client.close()
            self._adopt(LiveSource(self._url, self._clock, self._timeouts, options, "flv", self._choice))
        else:
            self._open_video()
            return
        assert self._inner is not None
        self._inner.open()

    def grab(self) -> FrameTime | None:
        """Wait for the next frame."""
        assert self._inner is not None, "open() comes first"
        return self._inner.grab()

    def retrieve(self) -> RawFrame:
        """Return the frame."""
        assert self._inner is not None, "open() comes first"
        return self._inner.retrieve()

    def interrupt(self) -> None:
        """End the wait for the next frame."""
        self._interrupted = True
        self._client.interrupt()
        inner = self._inner
        if inner is not None:
            inner.interrupt()

    def close(self) -> None:
        """Disconnect."""
        self._client.close()
        if self._inner is not None:
            self._inner.close()

    def _read_head(self, answer: Answer) -> bytes:
        """Read the first bytes of the body; none of what its type calls a stream of pictures."""
        head = b""
        while len(head) < _HEAD_BYTES and not answer.media_type.startswith("multipart/"):
            data = self._client.read()
            head += data
            is_known = is_picture(head) or START in head or _PART_TYPE.search(head) is not None
            # A low rate has no bytes to wait for: only what may be the header of a part is read on.
            if not data or is_known or (len(head) >= _SIGNATURE_BYTES and head.lstrip()[:1] not in b"-Cc"):
                break
        return head

    def _begins_with_pictures(self, head: bytes) -> bool:
        """Read on to the first tag that is no description; return whether it is a picture's (FLV 10.1, annex E.4)."""
        at = _FLV_HEADER_BYTES
        while at < _FLV_MOST_BYTES:
            while len(head) < at + _FLV_TAG_BYTES:
                data = self._client.read()
                if not data:
                    return True
                head += data
            kind, size = head[at] & 0x1F, int.from_bytes(head[at + 1 : at + 4], "big")
            if kind in (_FLV_SOUND, _FLV_PICTURE):
                return kind == _FLV_PICTURE
            at += _FLV_TAG_BYTES + size + 4
        return True

    def _read_playlist(self, head: bytes) -> str:
        while len(head) < _PLAYLIST_BYTES and (data := self._client.read()):
            head += data
        return head.decode("utf-8", "replace")

    def _open_pictures(self, answer: Answer, head: bytes) -> Source:
        if is_picture(head) and not head.startswith(START):
            return self._snapshots(answer, head + self._client.read_all(1 << 25, self._timeouts.read_s))
        stream = MjpegSource(self._url, self._clock, self._timeouts, self._client, answer)
        stream.feed(head)
        stream.open()
        still = stream.first_of_a_still()
        return stream if still is None else self._snapshots(answer, still)

    def _snapshots(self, answer: Answer, first: bytes) -> Source:
        source = SnapshotSource(self._url, self._fps, self._clock, self._timeouts, self._client, answer)
        source.begin(first)
        return source

    def _hls(self, playlist: str) -> Source:
        """Return a live playlist's source: its segments come at once, and are shown by their timestamps."""
        target = _TARGET.search(playlist)
        target_s = min(float(target.group(1)), _MOST_TARGET_S) if target else _USUAL_TARGET_S
        # FFmpeg asks for a playlist that has nothing new once more after half a segment.
        silence_s = self._timeouts.read_s + 1.5 * target_s
        return VideoSource(
            self._url,
            self._url.reveal(),
            self._clock,
            _HLS,
            open_s=silence_s,
            read_s=silence_s,
            is_stream=True,
            choice=self._choice,
        )

    def _recording(self, options: Mapping[str, str]) -> Source:
        limit_s = self._timeouts.open_s
        return VideoSource(
            self._url, self._url.reveal(), self._clock, options, open_s=limit_s, read_s=limit_s, choice=self._choice
        )

    def _open_video(self) -> None:
        live = LiveSource(self._url, self._clock, self._timeouts, choice=self._choice)
        self._adopt(live)
        live.open()
        if live.is_recording:
            live.close()
            recording = self._recording({})
            self._adopt(recording)
            recording.open()

    def _adopt(self, source: Source) -> None:
        self._inner = source
        if self._interrupted:  # by a stop that came before there was anything to end
            source.interrupt()


def _holds_pictures(answer: Answer, head: bytes) -> bool:
    """Return whether still pictures come, in whatever order and wrapping: the bytes count before the type."""
    if answer.media_type.startswith("multipart/"):
        return True
    is_wrapped = START in head and head.lstrip().startswith((b"--", START))  # some begin with an empty line
    return is_picture(head) or _PART_TYPE.search(head) is not None or is_wrapped
