"""Time limits of a connection: for receiving the headers, and for the client to read the response.

uvicorn has no time limit for headers, and its httptools parser has no size limit either. Its h11 parser stops at 16 KB;
the time limit is added here. Parsing in Python costs little compared with a reconstruction. Without a limit for
reading, a response would stay in memory for as long as the client keeps the connection open.
"""

import asyncio
from typing import Any, ClassVar

import h11
from uvicorn.protocols.http import auto
from uvicorn.protocols.http.h11_impl import H11Protocol


class TimedConnection(H11Protocol):
    """A connection that is closed if headers are incomplete, or a response unread, after a time limit.

    Between two requests uvicorn's own limit holds (`keep_alive_timeout_s` of Ray Serve).
    """

    header_seconds: ClassVar[float] = 10.0  # from connecting, or a request's first byte, to complete headers
    unread_seconds: ClassVar[float] = 60.0  # with a full write buffer
    _header_timer: asyncio.TimerHandle | None = None
    _unread_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:  # uvloop has its own types
        super().connection_made(transport)
        self._update_header_timer()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self._update_header_timer()

    def connection_lost(self, exc: Exception | None) -> None:
        self._cancel_header_timer()
        self._cancel_unread_timer()
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        """The transport's write buffer is full: start the timer."""
        super().pause_writing()
        if self._unread_timer is None:
            self._unread_timer = self.loop.call_later(self.unread_seconds, self.transport.abort)

    def resume_writing(self) -> None:
        """The write buffer has drained: cancel the timer."""
        super().resume_writing()
        self._cancel_unread_timer()

    def _cancel_unread_timer(self) -> None:
        if self._unread_timer is not None:
            self._unread_timer.cancel()
            self._unread_timer = None

    def _update_header_timer(self) -> None:
        """Start the timer while headers are incomplete; cancel it once they are complete."""
        if self.conn.their_state is not h11.IDLE or self.transport.is_closing():
            self._cancel_header_timer()
        elif self._header_timer is None:
            self._header_timer = self.loop.call_later(self.header_seconds, self.transport.close)

    def _cancel_header_timer(self) -> None:
        if self._header_timer is not None:
            self._header_timer.cancel()
            self._header_timer = None


def install_timeouts(header_seconds: float, unread_seconds: float) -> None:
    """Set the limits for all uvicorn servers that this process creates from now on with the parser "auto".

    Args:
        header_seconds: time for complete headers, s.
        unread_seconds: time for reading a response, s.
    """
    TimedConnection.header_seconds, TimedConnection.unread_seconds = header_seconds, unread_seconds
    auto.AutoHTTPProtocol = TimedConnection
