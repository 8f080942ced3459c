"""A transport without a socket: the test itself passes the protocol its bytes."""

import asyncio


class ManualTransport(asyncio.Transport):
    """Records whether its protocol has paused reading or aborted the connection."""

    def __init__(self) -> None:
        super().__init__()
        self.aborted = False
        self.paused = False

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        pass

    def pause_reading(self) -> None:
        self.paused = True

    def resume_reading(self) -> None:
        self.paused = False

    def is_closing(self) -> bool:
        return self.aborted

    def abort(self) -> None:
        self.aborted = True
