"""Time limits of a connection: headers must end, and responses must be read.

uvicorn waits for headers for ever, and its quick parser keeps whatever comes. Its other parser, h11, gives up after
16 KB; the time is added here. What parsing in Python costs is little beside a picture's way through the model. An
answer that nobody reads would stay in memory, whole, for as long as the other side keeps the connection.
"""

import asyncio
from typing import Any, ClassVar

import h11
from uvicorn.protocols.http import auto
from uvicorn.protocols.http.h11_impl import H11Protocol


class TimedConnection(H11Protocol):
    """A connection that is closed where headers have begun, or could have, and are not whole in time, and where an
    answer is not read.

    Between two requests uvicorn's own limit holds (`keep_alive_timeout_s` of Ray Serve).
    """

    header_seconds: ClassVar[float] = 10.0
    unread_seconds: ClassVar[float] = 60.0
    _header_timer: asyncio.TimerHandle | None = None
    _unread_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:  # uvloop has types of its own
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
        """The clock runs from the first moment without whole headers to the first with them."""
        if self.conn.their_state is not h11.IDLE or self.transport.is_closing():
            self._cancel_header_timer()
        elif self._header_timer is None:
            self._header_timer = self.loop.call_later(self.header_seconds, self.transport.close)

    def _cancel_header_timer(self) -> None:
        if self._header_timer is not None:
            self._header_timer.cancel()
            self._header_timer = None


def install_timeouts(header_seconds: float, unread_seconds: float) -> None:
    """From now on each uvicorn server of this process that chooses its parser itself has these limits."""
    TimedConnection.header_seconds, TimedConnection.unread_seconds = header_seconds, unread_seconds
    auto.AutoHTTPProtocol = TimedConnection
