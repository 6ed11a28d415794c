"""Calls that are answered at once, from one message, by a function."""

from asyncio import Task
from collections.abc import Callable
from http import HTTPStatus
from typing import Any, Final

from google.protobuf.message import DecodeError, Message

from serinus_server.access import Access, PendingVerdict
from serinus_server.grpc_api.call import Call
from serinus_server.http2.header_block import Field
from serinus_server.refusal import Refusal

MESSAGE_LIMIT: Final = 65_536
"""What such a call takes of a message: a name or two."""


class UnaryMethod:
    """Answers by `answer`, which is given the parsed message; with an `access` only whom that lets in."""

    message_limit = MESSAGE_LIMIT

    def __init__(
        self,
        request: Any,  # noqa: ANN401 - a class of messages
        answer: Callable[[Any], Message | Refusal],
        access: Access | None = None,
        *metadata_of_refusals: Field,
    ) -> None:
        self._request = request
        self._answer = answer
        self._access = access
        self._metadata = metadata_of_refusals

    def opened(self, call: Call) -> None:
        """Nothing to be decided yet."""

    def announced(self, call: Call, size: int) -> None:
        """Nothing either."""

    def asked(self, call: Call, message: bytes) -> None:
        """Answer, once it is known who asks."""
        verdict = None if self._access is None else self._access.check(call.head.credentials)
        if isinstance(verdict, Task):
            call.note = verdict
            verdict.add_done_callback(lambda pending: self._decided(call, message, pending))
        elif isinstance(verdict, Refusal):
            self.failed(call, verdict)
        else:
            self._respond(call, message)

    def _decided(self, call: Call, message: bytes, pending: PendingVerdict) -> None:
        if call.over or pending.cancelled():
            return
        verdict = pending.result()
        if isinstance(verdict, Refusal):
            self.failed(call, verdict)
        else:
            self._respond(call, message)

    def _respond(self, call: Call, message: bytes) -> None:
        try:
            request = self._request.FromString(message)
        except DecodeError as error:
            text = f"the request is not a {self._request.DESCRIPTOR.name}: {error}"
            self.failed(call, Refusal(HTTPStatus.BAD_REQUEST, text))
            return
        reply = self._answer(request)
        if isinstance(reply, Refusal):
            self.failed(call, reply)
        else:
            call.answer(reply.SerializeToString())

    def failed(self, call: Call, refusal: Refusal) -> None:
        """Refuse."""
        call.refuse(refusal, *self._metadata)

    def abandoned(self, call: Call) -> None:
        """Nobody waits for a verdict any more."""
        if isinstance(call.note, Task):
            call.note.cancel()
