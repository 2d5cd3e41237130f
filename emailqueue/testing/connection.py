"""How one SMTP connection is answered: by aiosmtpd, except where the script says otherwise."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from aiosmtpd.smtp import SMTP, AuthResult, Envelope, Session

if TYPE_CHECKING:
    from emailqueue.testing.mailserver import MailServer

PHASES = ("connect", "ehlo", "auth", "mail", "rcpt", "data", "body")
"""What a reply can answer: the connection, a command (data is DATA itself), or the dot that ends the body."""

SMTP_REPLY = re.compile(r"[2-5]\d\d([ -].*)?", re.DOTALL)
STALL = re.compile(r"stall (\d+(?:\.\d+)?)")


def check_reply(reply: str, *, phase: str) -> None:
    """Raise ValueError unless `reply` can be said in that phase."""
    if phase not in PHASES:
        raise ValueError(f"There is no phase {phase!r}. Use one of {', '.join(PHASES)}.")
    actions = ("drop", "drop-after-accept") if phase == "body" else ("drop",)
    if not (reply in actions or STALL.fullmatch(reply) or SMTP_REPLY.fullmatch(reply)):
        raise ValueError(
            f"{reply!r} is no reply to {phase}. Use an SMTP reply like '451 4.3.0 later', 'stall SECONDS', "
            f"{' or '.join(map(repr, actions))}."
        )


class Connection(SMTP):
    """One TCP connection; also the handler of what aiosmtpd has understood on it."""

    def __init__(self, server: MailServer, *, number: int, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(
            self,
            hostname="localhost",
            ident="ESMTP",
            enable_SMTPUTF8=True,
            auth_require_tls=False,
            authenticator=lambda *_: AuthResult(success=True),
            loop=loop,
        )
        self._number = number
        self._server = server
        self._refusals: dict[str, str] = {}

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._server.open.add(self)
        super().connection_made(transport)

    def connection_lost(self, error: Exception | None) -> None:
        self._server.open.discard(self)
        super().connection_lost(error)

    def abort(self) -> None:
        """Close the connection without another word."""
        assert isinstance(self.transport, asyncio.WriteTransport)  # as it is of an open connection
        self.transport.abort()

    async def refuses(self, phase: str) -> bool:
        """Act on the next reply of that phase, and return whether it was a refusal."""
        reply = self._refusals.get(phase) or await self._act_on(self._server.next_reply(phase))
        if not _is_refusal(reply):
            return False
        if phase in ("ehlo", "auth"):
            self._refusals[phase] = reply
        await self.push(reply)
        return True

    async def handle_RCPT(  # noqa: N802
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        reply = await self._act_on(self._server.next_reply_to(address))
        if not _is_refusal(reply):
            envelope.rcpt_tos.append(address)
        return reply or "250 2.1.5 OK"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802
        reply = self._server.next_reply("body")
        # Before any wait: the client that gives up then is the one that cannot know (RFC 1047).
        if reply != "drop" and not _is_refusal(reply):
            self._server.take(envelope, connection=self._number)
        await asyncio.sleep(self._server.delay)
        return await self._act_on(reply) or "250 2.0.0 OK"

    async def _handle_client(self) -> None:
        if await self.refuses("connect"):
            self._writer.close()
        else:
            await super()._handle_client()

    async def _act_on(self, reply: str) -> str:
        """Return the reply to send, empty for yes. Raises CancelledError when the reply is to hang up."""
        if reply.startswith("drop"):
            self.abort()
            raise asyncio.CancelledError
        if stall := STALL.fullmatch(reply):
            await asyncio.sleep(float(stall[1]))
            return ""
        if reply.startswith("421"):
            await self.push(reply)
            self._writer.close()
            raise asyncio.CancelledError
        return reply


def _unless_refused(phase: str, command: Callable[[Any, Any], Awaitable[None]]) -> Any:
    """Return an SMTP command that is first answered by the script."""

    async def answer(connection: Connection, argument: Any) -> None:
        if not await connection.refuses(phase):
            await command(connection, argument)

    return answer


# aiosmtpd finds commands by these names. It has hooks for some of them, but none for DATA.
for _command, _phase in {"EHLO": "ehlo", "HELO": "ehlo", "AUTH": "auth", "MAIL": "mail", "DATA": "data"}.items():
    setattr(Connection, f"smtp_{_command}", _unless_refused(_phase, getattr(SMTP, f"smtp_{_command}")))


def _is_refusal(reply: str) -> bool:
    return reply.startswith(("4", "5"))
