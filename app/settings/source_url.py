"""SourceUrl: a camera's address, parsed once, whose text never shows a password."""

from __future__ import annotations

import enum
import re
from dataclasses import dataclass, field
from urllib.parse import unquote, urlsplit, urlunsplit

from app.errors import SettingsError
from app.settings.paths import find_file

_LIVE_SCHEMES = frozenset({"rtsp", "rtsps"})
_NETWORK = _LIVE_SCHEMES | {"http", "https"}
_LOCAL = frozenset({"file", "device", "synthetic"})
_HARMLESS = re.compile(
    r"channel|subtype|stream|profile|resolution|fps|transport|loop|width|height|codec|videocodec|camera|unicast|proto",
    re.IGNORECASE,
)
"""Keys of a query whose values are shown."""
_SECRET_IN_PATH = re.compile(r"((?:pass|pwd|pas|psw|pw|token|secret|auth)\w*?=)[^/&;]*", re.IGNORECASE)
_ADDRESS_WITHOUT_SCHEME = re.compile(r"^(?:[A-Za-z][A-Za-z0-9+.-]*:/(?!/)|[^/@\s]+:[^/@]*@)")
"""``rtsp:/user:password@host`` and ``user:password@host/path``: no path of a file looks like that."""
_HOST = re.compile(r"(?:\[[0-9A-Fa-f:.%]+\]|[^:\[\]@\s]*)(?::\d{1,5})?")
"""A host, with a port or without; an empty one is refused elsewhere."""
_SCHEME = re.compile(r"^([A-Za-z][A-Za-z0-9+.-]*)://")
_DEVICE = re.compile(r"device://(?:(\d{1,4})|(/.+))")
_DEVICE_PATH = re.compile(r"/dev/(?:video\d+|v4l/.+)")
IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff")
"""What an image file's name ends with, in lower case."""
HIDDEN = "***"
"""Replaces a secret where an address is shown."""


class SourceKind(enum.StrEnum):
    """The kind of a camera's source."""

    SYNTHETIC = "synthetic"
    FILE = "file"
    """A video file, or a folder or glob of images."""
    RTSP = "rtsp"
    HTTP = "http"
    DEVICE = "device"
    """A USB camera, by its number or the path of its node."""


class Transport(enum.StrEnum):
    """How an RTSP server sends its stream."""

    ANY = "any"
    """Over TCP, and over UDP where the server refuses that."""
    TCP = "tcp"
    UDP = "udp"


@dataclass(frozen=True)
class SourceUrl:
    """A parsed source address; ``str()`` and ``repr()`` show it without its secrets.

    Two keys of its query are Sightline's, and are removed before the address is opened: ``loop=false`` of a recording,
    and ``transport=tcp`` or ``transport=udp`` of an ``rtsp://`` stream. ``rtsps://`` is always TCP.

    >>> str(SourceUrl.parse("rtsp://viewer:hunter2@gate.example/stream1"))
    'rtsp://viewer:***@gate.example/stream1'
    """

    kind: SourceKind
    loop: bool
    """Whether a recording starts again at its end (``?loop=false`` turns it off)."""
    redacted: str
    """The address with every password and token replaced."""
    _secret: str = field(repr=False)
    _given: str = field(repr=False, compare=False)
    transport: Transport = Transport.ANY
    """How an RTSP stream is requested (``?transport=udp``)."""

    @classmethod
    def parse(cls, text: str) -> SourceUrl:
        """Parse a camera's ``url``.

        Raises:
            SettingsError: the scheme is not one of the contract's, the address is incomplete, or ``loop`` or
                ``transport`` has an impossible value.
        """
        text = text.strip()
        if not text:
            raise SettingsError(
                "url: '' is empty; allowed are rtsp://, http(s)://, a path, device://0, /dev/video0, synthetic://street"
            )
        scheme = _SCHEME.match(text)
        if scheme is not None:  # schemes ignore case (RFC 3986, section 3.1); FFmpeg does not
            text = text[: scheme.end()].lower() + text[scheme.end() :]
        _refuse_unredactable(text)
        kind = _kind(text)
        loop, bare = _take(text, "loop")
        transport = None
        if kind is SourceKind.RTSP:
            transport, bare = _take(bare, "transport")
        return cls(
            kind=kind,
            loop=_loops(loop),
            redacted=redact(text),
            _secret=bare,
            _given=text,
            transport=_transport(transport, text),
        )

    def reveal(self) -> str:
        """Return the full address with its secrets, without ``loop``, for the library that opens it; never log it."""
        return self._secret

    def written(self) -> str:
        """Return the full address with its secrets as a user writes it, ``loop`` included; never log it."""
        return self._given

    def with_secrets_of(self, known: SourceUrl) -> SourceUrl:
        """Return ``known`` where this address is its redacted form, else this address.

        Raises:
            SettingsError: a secret in this address is redacted, and it is not the redacted form of ``known``.
        """
        if self._given == known.redacted:
            return known
        self.refuse_redacted()
        return self

    def refuse_redacted(self) -> None:
        """Check that no secret in the address is redacted.

        Raises:
            SettingsError: one is.
        """
        if self.kind in (SourceKind.RTSP, SourceKind.HTTP) and HIDDEN in self._given:
            raise SettingsError(
                f"url: {self.redacted!r} has {HIDDEN} in the place of a secret; give the whole address or, for a "
                "camera that exists, the address exactly as it is shown"
            )

    @property
    def path(self) -> str:
        """The file system path of a ``FILE`` source: ``~`` is the home, a relative one is found as other settings' are.

        ``file://localhost/`` is the same as ``file:///`` (RFC 8089, section 2).
        """
        path = self._secret
        if path.startswith("file://"):
            path = unquote(re.sub(r"^file://(?:localhost(?=/))?", "", path, flags=re.IGNORECASE))
        return str(find_file(path))

    @property
    def device(self) -> int | str:
        """The number of a ``DEVICE`` source, or the absolute path of its node."""
        match = _DEVICE.fullmatch(self._secret)
        if match is None:
            return self._secret
        return int(match.group(1)) if match.group(1) else match.group(2)

    @property
    def is_images(self) -> bool:
        """Whether a ``FILE`` source is a glob, or a single picture, rather than a video."""
        return any(mark in self.path for mark in "*?[") or self.path.lower().endswith(IMAGE_SUFFIXES)

    def __str__(self) -> str:
        return self.redacted

    def __repr__(self) -> str:
        return f"SourceUrl({self.redacted!r})"


def redact(text: str) -> str:
    """Replace the password of an address, and every part of its path or query that may be a secret.

    It takes addresses that ``_refuse_unredactable`` accepted. Of a network address's query only values known
    to be harmless are shown: cameras have many words for a password.
    """
    scheme = _SCHEME.match(text)
    if scheme is None:
        return HIDDEN if _ADDRESS_WITHOUT_SCHEME.match(text) else text
    try:
        parts = urlsplit(text)
    except ValueError:
        return scheme.group(0) + HIDDEN
    user, at, host = parts.netloc.rpartition("@")
    if at:
        name, colon, _ = user.partition(":")
        user = f"{name}:{HIDDEN}" if colon else name
    network = parts.scheme.lower() in _NETWORK
    query = "&".join(_shown(pair) for pair in parts.query.split("&")) if network else parts.query
    path = _SECRET_IN_PATH.sub(rf"\1{HIDDEN}", parts.path) if network else parts.path
    return urlunsplit((parts.scheme, f"{user}{at}{host}", path, query, ""))


def _shown(pair: str) -> str:
    key, equals, value = pair.partition("=")
    return f"{key}{equals}{value if _HARMLESS.fullmatch(key) else HIDDEN}" if value else pair


def _refuse_unredactable(text: str) -> None:
    """Refuse an address whose password cannot be separated from the rest; the error never shows it.

    Raises:
        SettingsError: characters of a password are not encoded, or an address lacks its ``//``.
    """
    scheme = _SCHEME.match(text)
    if scheme is None:
        if _ADDRESS_WITHOUT_SCHEME.match(text):
            raise SettingsError("url: an address with a user or a scheme must be scheme://user:password@host/path")
        return
    if scheme.group(1).lower() in _LOCAL:
        return
    address = text[scheme.end() :]
    authority = re.split(r"[/?#]", address, maxsplit=1)[0]
    # viewer:1/2@gate reads as host viewer, port 1, and viewer:a@b/c@gate as host b: so with an account or a port no
    # @ may follow.
    misplaced = ":" in authority and "@" in address[len(authority) :]
    if misplaced or not _HOST.fullmatch(authority.rpartition("@")[2]):
        raise SettingsError(
            "url: the host or port is malformed, or one of / ? # @ , is not encoded in the user or password, or an @ "
            "follows the host (write %2F %3F %23 %40 %2C)"
        )


def _kind(text: str) -> SourceKind:
    match = _SCHEME.match(text)
    if match is None:
        return SourceKind.DEVICE if _DEVICE_PATH.fullmatch(text) else SourceKind.FILE
    scheme = match.group(1).lower()
    if scheme in _NETWORK:
        if not _host(text):
            raise SettingsError(
                f"url: {redact(text)!r} names no host and port; allowed is {scheme}://[user:password@]host[:port]/path,"
                " with / ? # @ of a password written %2F %3F %23 %40"
            )
        return SourceKind.RTSP if scheme in _LIVE_SCHEMES else SourceKind.HTTP
    if scheme == SourceKind.DEVICE.value and not _DEVICE.fullmatch(text):
        raise SettingsError(
            f"url: {redact(text)!r} names no device; allowed is device://N, N from 0, or device:///dev/…"
        )
    for kind in (SourceKind.FILE, SourceKind.DEVICE, SourceKind.SYNTHETIC):
        if scheme == kind.value:
            return kind
    raise SettingsError(
        f"url: {redact(text)!r} has the scheme {scheme!r}; allowed are rtsp, rtsps, http, https, file, "
        "device, synthetic, or a plain path"
    )


def _host(text: str) -> str:
    try:
        parts = urlsplit(text)
        _ = parts.port  # raises ValueError where it is not a number
        return parts.hostname or ""
    except ValueError:
        return ""


def _take(text: str, name: str) -> tuple[str | None, str]:
    """Return the value of a key of the query, and the address without that key; a glob's question mark stays."""
    head, mark, query = text.rpartition("?")
    if not mark or f"{name}=" not in query:
        return None, text
    kept = []
    found = None
    for pair in query.split("&"):
        key, _, value = pair.partition("=")
        if key == name:
            found = value
        else:
            kept.append(pair)
    return found, f"{head}?{'&'.join(kept)}" if kept else head


def _loops(value: str | None) -> bool:
    if value is not None and value.lower() not in ("true", "1", "false", "0"):
        raise SettingsError(f"url: loop={value!r} is not a boolean; allowed are true and false")
    return value is None or value.lower() in ("true", "1")


def _transport(value: str | None, text: str) -> Transport:
    if value is None:
        return Transport.ANY
    allowed = ("tcp",) if text.lower().startswith("rtsps") else ("tcp", "udp")
    if value.lower() not in allowed:
        raise SettingsError(f"url: transport={value!r} is not supported here; allowed is {' or '.join(allowed)}")
    return Transport(value.lower())
