"""Headers have an end: some seconds and 64 KB, before the door can see a request.

uvicorn waits for headers for ever, and its quick parser keeps whatever comes. Its other parser, h11, knows an end of
their size; the time is added here. What parsing in Python costs is little beside a picture's way through the model.
"""

import asyncio
from typing import Any, ClassVar

import h11
from uvicorn.protocols.http import auto
from uvicorn.protocols.http.h11_impl import H11Protocol


class TimedHeaders(H11Protocol):
    """A connection that is closed where headers have begun, or could have, and are not whole in time.

    Between two requests uvicorn's own limit holds (`keep_alive_timeout_s` of Ray Serve).
    """

    seconds: ClassVar[float] = 10.0
    _timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:  # uvloop has types of its own
        super().connection_made(transport)
        self._time()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self._time()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop()
        super().connection_lost(exc)

    def _time(self) -> None:
        """The clock runs from the first moment without whole headers to the first with them."""
        if self.conn.their_state is not h11.IDLE or self.transport.is_closing():
            self._stop()
        elif self._timer is None:
            self._timer = self.loop.call_later(self.seconds, self.transport.close)

    def _stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


def limit(seconds: float) -> None:
    """From now on each uvicorn server of this process that chooses its parser itself has these limits."""
    TimedHeaders.seconds = seconds
    auto.AutoHTTPProtocol = TimedHeaders
