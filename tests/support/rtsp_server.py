"""RtspServer: a real RTSP camera on a free port of the loopback, with every trouble that a camera may have."""

from __future__ import annotations

import contextlib
import re
import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import BinaryIO

from tests.support.accounts import Account
from tests.support.h264 import (
    CLOCK_HZ,
    H264,
    PAYLOAD_TYPE,
    Codec,
    NumberedStream,
    RtpPacketiser,
    goodbye,
    parameter_sets,
    sender_report,
)
from tests.support.numbered import HEIGHT, WIDTH

_RESET = struct.pack("ii", 1, 0)


@dataclass
class Behaviour:
    """What the camera does; a test changes it at any time, and the sessions follow at the next frame."""

    fps: float = 25.0
    codec: Codec = H264
    sound: bool = False
    """A sound track is described, too; it is not for us, and asking for it is noted."""
    size: tuple[int, int] = (WIDTH, HEIGHT)
    keyframe_every: int = 25
    join_at: int = 0
    """The frames that a session has missed when it joins: above 0, its first frame is no key frame."""
    transports: frozenset[str] = frozenset({"tcp", "udp"})
    most_bytes: int = 400
    """Of an RTP payload: small, so that pictures are fragmented."""
    stamp_shift_s: float = 0.0
    """Added to every timestamp from now on."""
    frozen_stamps: bool = False
    """Every timestamp is the same."""
    stalled: bool = False
    """Nothing is sent, and the connection stays."""
    breaks_after: int = 0
    """Each connection is reset after so many pictures; 0: never."""
    hangs_at: str = ""
    """The method that is never answered; ``*`` for all."""
    garbage: bool = False
    """What is answered is no RTSP."""
    account: Account | None = None
    offers: tuple[Account, ...] = ()
    """What it asks for, in this order, where that is not the account alone."""
    loses_every: int = 0
    """Every so-many-th RTP packet is lost on its way; 0: none."""
    answers_udp: bool = False
    """A SETUP over TCP is answered with a transport over UDP."""
    describe: Callable[[str], str] = str
    """Changes the description that a DESCRIBE is answered with."""
    described: int = 0
    """DESCRIBE requests so far."""


@dataclass(eq=False)
class _Session:
    """One connection, and where its pictures go."""

    connection: socket.socket
    writing: threading.Lock = field(default_factory=threading.Lock)
    over: threading.Event = field(default_factory=threading.Event)
    udp: tuple[socket.socket, str, int] | None = None
    frozen: bool = False

    def send(self, data: bytes) -> None:
        with self.writing:
            self.connection.sendall(data)

    def send_media(self, channel: int, packet: bytes) -> None:
        if self.udp is None:
            self.send(struct.pack(">cBH", b"$", channel, len(packet)) + packet)
        else:
            sender, host, port = self.udp
            sender.sendto(packet, (host, port + channel))

    def reset(self) -> None:
        """Break the connection off: the client gets a TCP reset."""
        with contextlib.suppress(OSError):
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        self.close()

    def close(self) -> None:
        self.over.set()
        with contextlib.suppress(OSError):
            self.connection.shutdown(socket.SHUT_RD)  # wakes our own reader
        if self.udp is not None:
            self.udp[0].close()
        self.connection.close()


class RtspServer:
    """Streams numbered pictures to whoever asks; each session starts with number 0."""

    def __init__(self, tls: ssl.SSLContext | None = None, host: str = "127.0.0.1", **behaviour: object) -> None:
        self.behaviour = Behaviour(**behaviour)  # type: ignore[arg-type]
        self.host = host
        self.port = 0
        self.played: list[str] = []
        """The transport of every session that was played."""
        self.tracks: list[str] = []
        """Every track that was asked for."""
        self._tls = tls
        self._listener: socket.socket | None = None
        self._hole: list[socket.socket] = []
        self._sessions: set[_Session] = set()
        self._lock = threading.Lock()

    def __enter__(self) -> RtspServer:
        self.listen()
        return self

    def __exit__(self, *_: object) -> None:
        self.go_away()

    def url(self, path: str = "stream", query: str = "", user: str = "", password: str = "") -> str:
        account = f"{user}:{password}@" if user else ""
        scheme = "rtsps" if self._tls else "rtsp"
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{scheme}://{account}{host}:{self.port}/{path}{'?' + query if query else ''}"

    def listen(self) -> None:
        """Begin to listen; after ``go_away``, on the same port again."""
        self._listener = socket.create_server((self.host, self.port), family=self._family)
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, args=(self._listener,), daemon=True).start()

    def go_away(self) -> None:
        """Refuse connections, and reset those that are."""
        listener, self._listener = self._listener, None
        if listener is not None:
            with contextlib.suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)
            listener.close()
        self.reset()

    def black_hole(self) -> None:
        """Answer nothing any more, as a host does that lost its power: a full backlog drops what arrives."""
        self.go_away()
        self._hole = [socket.create_server(("127.0.0.1", self.port), backlog=0)]
        for _ in range(4):
            filler = socket.socket()
            filler.setblocking(False)
            filler.connect_ex(("127.0.0.1", self.port))
            self._hole.append(filler)

    def come_back(self) -> None:
        """Listen again after ``black_hole``."""
        for each in reversed(self._hole):
            each.close()
        self._hole = []
        self.listen()

    def reset(self) -> None:
        """Reset every connection; new ones are welcome."""
        for session in self._present():
            session.reset()

    def end(self) -> None:
        """End every stream in good order: RTCP BYE, then the connection is closed."""
        for session in self._present():
            with contextlib.suppress(OSError):
                session.send_media(1, goodbye())
            session.close()

    def freeze(self) -> None:
        """Never send again on the connections that are, and leave them open; new ones are welcome."""
        for session in self._present():
            session.frozen = True

    @property
    def _family(self) -> socket.AddressFamily:
        return socket.AF_INET6 if ":" in self.host else socket.AF_INET

    @property
    def connections(self) -> int:
        """How many clients are connected now."""
        return len(self._present())

    def _present(self) -> list[_Session]:
        with self._lock:
            return list(self._sessions)

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with contextlib.suppress(OSError):
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if self._tls is not None:
                connection = self._tls.wrap_socket(connection, server_side=True)
        session = _Session(connection)
        with self._lock:
            self._sessions.add(session)
        try:
            with contextlib.suppress(OSError, ValueError), connection.makefile("rb") as reader:
                self._converse(session, reader)
        finally:
            session.close()
            with self._lock:
                self._sessions.discard(session)

    def _converse(self, session: _Session, reader: BinaryIO) -> None:
        for method, url, headers in _requests(reader):
            if self.behaviour.garbage:
                session.send(bytes(range(256)) * 8)
                return
            if self.behaviour.hangs_at in (method, "*"):
                session.over.wait()
                return
            status, answers, body = self._answer(session, method, url, headers)
            lines = [f"RTSP/1.0 {status}", f"CSeq: {headers.get('cseq', '0')}", *answers]
            if body:
                lines.append(f"Content-Length: {len(body)}")
            session.send("\r\n".join([*lines, "", body]).encode())
            if method == "PLAY" and status.startswith("200"):
                self.played.append("udp" if session.udp else "tcp")
                threading.Thread(target=self._stream, args=(session,), daemon=True).start()
            if method == "TEARDOWN":
                return

    def _answer(self, session: _Session, method: str, url: str, headers: dict[str, str]) -> tuple[str, list[str], str]:
        self.behaviour.described += method == "DESCRIBE"
        if method == "OPTIONS":
            return "200 OK", ["Public: OPTIONS, DESCRIBE, SETUP, PLAY, TEARDOWN, GET_PARAMETER"], ""
        account = self.behaviour.account
        if account is not None and not account.allows(method, headers.get("authorization", "")):
            offered = self.behaviour.offers or (account,)
            return "401 Unauthorized", [f"WWW-Authenticate: {each.challenge()}" for each in offered], ""
        if method == "DESCRIBE":
            return "200 OK", ["Content-Type: application/sdp", f"Content-Base: {url}/"], self._description()
        if method == "SETUP":
            self.tracks.append(url.rpartition("/")[2])
            return self._set_up(session, headers.get("transport", ""))
        return "200 OK", ["Session: 1;timeout=60"], ""

    def _set_up(self, session: _Session, asked: str) -> tuple[str, list[str], str]:
        kind = "tcp" if "TCP" in asked else "udp"
        if kind == "tcp" and self.behaviour.answers_udp:
            return "200 OK", ["Transport: RTP/AVP;unicast;client_port=5000-5001", "Session: 1;timeout=60"], ""
        if kind not in self.behaviour.transports:
            return "461 Unsupported Transport", [], ""
        if kind == "udp":
            port = int(re.search(r"client_port=(\d+)", asked).group(1))  # type: ignore[union-attr]
            sender = socket.socket(self._family, socket.SOCK_DGRAM)
            sender.bind((self.host, 0))
            session.udp = (sender, self.host, port)
            own = sender.getsockname()[1]
            asked = f"RTP/AVP/UDP;unicast;client_port={port}-{port + 1};server_port={own}-{own + 1}"
        return "200 OK", [f"Transport: {asked}", "Session: 1;timeout=60"], ""

    def _description(self) -> str:
        codec = self.behaviour.codec
        sets = parameter_sets(codec, *self.behaviour.size)
        lines = [
            "v=0",
            "o=- 1 1 IN IP4 127.0.0.1",
            "s=gate",
            "c=IN IP4 0.0.0.0",
            "t=0 0",
            f"m=video 0 RTP/AVP {PAYLOAD_TYPE}",
            f"a=rtpmap:{PAYLOAD_TYPE} {codec.name}/{CLOCK_HZ}",
            f"a=fmtp:{PAYLOAD_TYPE} {sets}",
            "a=control:track1",
        ]
        if self.behaviour.sound:
            lines += ["m=audio 0 RTP/AVP 0", "a=control:track2"]
        return self.behaviour.describe("\r\n".join([*lines, ""]))

    def _stream(self, session: _Session) -> None:
        with contextlib.suppress(OSError):
            self._send_pictures(session)
        session.close()

    def _send_pictures(self, session: _Session) -> None:
        behaviour = self.behaviour
        packetiser = RtpPacketiser(behaviour.codec, behaviour.most_bytes)
        stream = NumberedStream(behaviour.codec, *behaviour.size, behaviour.keyframe_every)
        for number in range(behaviour.join_at):
            stream.encode(number)
        due, stamp_s, number, sent = time.monotonic(), 100.0, behaviour.join_at, 0
        while not session.over.wait(max(0.0, due - time.monotonic())):
            if (stream.width, stream.height) != behaviour.size:
                stream = NumberedStream(behaviour.codec, *behaviour.size, behaviour.keyframe_every)
            nals = stream.encode(number)
            stamp = 0 if behaviour.frozen_stamps else round((stamp_s + behaviour.stamp_shift_s) * CLOCK_HZ)
            if not (behaviour.stalled or session.frozen):
                if number % 30 == 10:  # cameras report now and then, not at once
                    session.send_media(1, sender_report(stamp, time.time()))
                for packet in packetiser.packets(nals, stamp):
                    sent += 1
                    if not behaviour.loses_every or sent % behaviour.loses_every:
                        session.send_media(0, packet)
            if behaviour.breaks_after and number - behaviour.join_at >= behaviour.breaks_after:
                session.reset()
            due, stamp_s, number = due + 1 / behaviour.fps, stamp_s + 1 / behaviour.fps, number + 1


def _requests(reader: BinaryIO) -> Iterator[tuple[str, str, dict[str, str]]]:
    """Return a client's requests; its interleaved reports are passed over."""
    while first := reader.read(1):
        if first == b"$":
            reader.read(struct.unpack(">xH", reader.read(3))[0])
            continue
        method, url, _ = (first + reader.readline()).decode().split(" ", 2)
        headers = {}
        while line := reader.readline().decode().strip():
            name, _, value = line.partition(":")
            headers[name.strip().lower()] = value.strip()
        reader.read(int(headers.get("content-length", 0)))
        yield method, url, headers
