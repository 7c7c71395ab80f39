"""Who follows a transfer: told of its progress, asked whether it is still wanted."""

from typing import Protocol


def size_text(count: int) -> str:
    """Return bytes as a person reads them."""
    if count >= 1e9:
        return f"{count / 1e9:.2f} GB"
    return f"{count / 1e6:.1f} MB" if count >= 1e5 else f"{count} bytes"


class Watch(Protocol):
    """Follows the transfers of one model. Used on the threads that transfer; must not block."""

    @property
    def cancelled(self) -> bool:
        """Whether nobody waits any longer; the transfer then ends soon, by `TransferCancelledError`."""
        ...

    def report(self, uri: str, done: int, total: int | None) -> None:
        """Take note of progress.

        Args:
            uri: of the file, without anything secret.
            done: bytes that are here, those of an earlier attempt included.
            total: of the file; None is not told.
        """
        ...


class Unwatched:
    """Nobody asks, and it is always wanted."""

    cancelled = False

    def report(self, uri: str, done: int, total: int | None) -> None:
        """Do nothing."""


UNWATCHED = Unwatched()
