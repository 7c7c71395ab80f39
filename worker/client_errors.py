"""What the asyncio host raises, and what an answer is."""

from typing import Any

Answer = dict[str, Any]


class WorkerError(Exception):
    """A request was answered with an error object."""

    def __init__(self, code: str, text: str, answer: Answer) -> None:
        super().__init__(f"{code}: {text}")
        self.code = code
        """One of `protocol.errors.ErrorCode`."""
        self.text = text
        self.answer = answer
        """The whole object."""


class WorkerGone(ConnectionError):  # noqa: N818 - a state of the connection
    """The worker ended, or its answers cannot be read, while requests were open."""


class HandshakeRefused(WorkerGone):
    """The worker did not take the configuration."""


def raised(answer: Answer) -> WorkerError:
    """Return the error object of an answer as what is raised."""
    return WorkerError(answer.get("code", "internal"), answer["error"], answer)
