"""How one SMTP connection is answered: by aiosmtpd, save where the script says otherwise."""

from __future__ import annotations

import asyncio
import re
from typing import Protocol

from aiosmtpd.smtp import SMTP, AuthResult, Envelope, Session

PHASES = ("connect", "ehlo", "auth", "mail", "rcpt", "data", "body")
"""What a reply can answer: the connection, a command (data is DATA itself), or the dot that ends the body."""

SMTP_REPLY = re.compile(r"[2-5]\d\d([ -].*)?", re.DOTALL)
STALL = re.compile(r"stall (\d+(?:\.\d+)?)")


class Script(Protocol):
    """What a connection asks of its server."""

    delay: float

    def next_reply(self, phase: str) -> str:
        """Return what is said next in that phase; empty for yes."""

    def next_reply_to(self, recipient: str) -> str:
        """Return what is said to a client that names this recipient; empty for yes."""

    def take(self, envelope: Envelope, *, connection: int) -> None:
        """Store the mail."""

    def add(self, connection: Connection) -> None:
        """Remember an open connection."""

    def remove(self, connection: Connection) -> None:
        """Forget a closed connection."""


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
    """One TCP connection."""

    def __init__(self, script: Script, *, number: int, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(
            _Hooks(script, self),
            hostname="localhost",
            ident="ESMTP",
            enable_SMTPUTF8=True,
            auth_require_tls=False,
            authenticator=lambda *_: AuthResult(success=True),
            loop=loop,
        )
        self.number = number
        self._script = script
        self._refusals: dict[str, str] = {}

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._script.add(self)
        super().connection_made(transport)

    def connection_lost(self, error: Exception | None) -> None:
        self._script.remove(self)
        super().connection_lost(error)

    def abort(self) -> None:
        """Close the connection without another word."""
        if isinstance(self.transport, asyncio.WriteTransport):
            self.transport.abort()

    async def act_on(self, reply: str) -> str:
        """Return what is to be said, empty for yes. Raises CancelledError when the reply is to hang up."""
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

    async def _handle_client(self) -> None:
        if await self._refuses("connect"):
            self._writer.close()
        else:
            await super()._handle_client()

    # aiosmtpd finds commands by these names. It has hooks for some of them, but none for DATA.

    async def smtp_EHLO(self, hostname: str) -> None:  # noqa: N802
        if not await self._refuses("ehlo"):
            await super().smtp_EHLO(hostname)

    async def smtp_HELO(self, hostname: str) -> None:  # noqa: N802
        if not await self._refuses("ehlo"):
            await super().smtp_HELO(hostname)

    async def smtp_AUTH(self, arg: str) -> None:  # noqa: N802
        if not await self._refuses("auth"):
            await super().smtp_AUTH(arg)

    async def smtp_MAIL(self, arg: str | None) -> None:  # noqa: N802
        if not await self._refuses("mail"):
            await super().smtp_MAIL(arg)

    async def smtp_DATA(self, arg: str) -> None:  # noqa: N802
        if not await self._refuses("data"):
            await super().smtp_DATA(arg)

    async def _refuses(self, phase: str) -> bool:
        reply = self._refusals.get(phase) or await self.act_on(self._script.next_reply(phase))
        if not _is_refusal(reply):
            return False
        if phase in ("ehlo", "auth"):
            self._refusals[phase] = reply
        await self.push(reply)
        return True


class _Hooks:
    """What aiosmtpd asks once it has understood a command."""

    def __init__(self, script: Script, connection: Connection) -> None:
        self._script = script
        self._connection = connection

    async def handle_RCPT(  # noqa: N802
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        reply = await self._connection.act_on(self._script.next_reply_to(address))
        if not _is_refusal(reply):
            envelope.rcpt_tos.append(address)
        return reply or "250 2.1.5 OK"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802
        reply = self._script.next_reply("body")
        # Before any wait: the client that gives up then is the one that cannot know (RFC 1047).
        if reply != "drop" and not _is_refusal(reply):
            self._script.take(envelope, connection=self._connection.number)
        await asyncio.sleep(self._script.delay)
        return await self._connection.act_on(reply) or "250 2.0.0 OK"


def _is_refusal(reply: str) -> bool:
    return reply.startswith(("4", "5"))
