"""A transport without a socket, for connections whose bytes are given by hand."""

import asyncio


class HandFed(asyncio.Transport):
    """Notes whether its protocol wants more, and whether it has given the connection up."""

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
