"""The SMTP server on loopback that accepts, refuses, stalls and hangs up as its script says."""

import asyncio
import re
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from email import message_from_bytes, policy
from email.message import EmailMessage
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Self
from urllib.parse import quote

from aiosmtpd.smtp import Envelope

from emailqueue.testing.connection import PHASES, Connection, check_reply

MESSAGE_ID = re.compile(rb"^Message-ID:\s*(\S+)", re.IGNORECASE | re.MULTILINE)

Rule = tuple[Callable[[str], bool] | str, Sequence[str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class ReceivedMail:
    """One mail that the server has taken for one recipient."""

    sender: str
    recipient: str
    content: bytes = field(repr=False)
    message_id: str
    received_at: float
    """As time.time() has it."""

    connection: int
    """Number of the TCP connection that it came on; the first is 1."""

    @property
    def message(self) -> EmailMessage:
        """The mail, parsed anew each time; its lines end in a plain newline."""
        return message_from_bytes(self.content.replace(b"\r\n", b"\n"), policy=policy.default)


class MailServer:
    """
    An SMTP server on 127.0.0.1 and a free port, in a thread of its own that ends with the process.

        with MailServer() as server:
            server.replies = ["451 4.3.0 later", "drop", "250 ok"]  # to the next three recipients
            server.rules.append(("*@bounce.example", ["550 5.1.1 no such mailbox"]))
            server.script("body", ["drop-after-accept", "stall 3"])

    A reply is an SMTP reply, or "drop", which closes the connection unanswered; "drop-after-accept", for the
    body only, which takes the mail first; "stall 3", which waits 3 seconds, then accepts. After a 421 the
    connection is closed (RFC 5321, section 3.8). Where no reply is left, all is accepted.
    """

    def __init__(self, *, folder: Path | None = None, port: int = 0) -> None:
        self.port = port
        """Where it listens. 0 until the first start; kept from then on."""
        self.folder = folder
        """Where each mail is written to, as a file that mail programs open."""
        self.delay = 0.0
        """Seconds between a body and its answer; the mail is stored before, and kept should the client go."""
        self.rules: list[Rule] = []
        """Replies by recipient, as a pattern ("*@soft.example") or a function of the address. The first rule
        that fits answers instead of `replies`: the n-th attempt gets the n-th reply, later ones the last."""
        self.calls: list[float] = []
        """When each TCP connection was made, as time.time() has it."""
        self.open: set[Connection] = set()
        """Those that are open now."""
        self._scripts: dict[str, list[str]] = {phase: [] for phase in PHASES}
        self._messages: list[ReceivedMail] = []
        self._attempts: list[tuple[float, str]] = []
        self._seen: Counter[str] = Counter()
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.stop()

    @property
    def replies(self) -> list[str]:
        """What the next recipients are answered, one reply an attempt; the rest is what is left."""
        return list(self._scripts["rcpt"])

    @replies.setter
    def replies(self, replies: Iterable[str]) -> None:
        self.script("rcpt", replies)

    def script(self, phase: str, replies: Iterable[str]) -> None:
        """
        Set the replies of one phase: connect, ehlo, auth, mail, rcpt, data or body.

        A refused ehlo or auth stays refused on its connection: clients try HELO or another mechanism next.
        Raises ValueError for a reply that the server cannot give.
        """
        replies = list(replies)
        for reply in replies:
            check_reply(reply, phase=phase)
        self._scripts[phase] = replies

    @property
    def messages(self) -> list[ReceivedMail]:
        """The mails taken so far, oldest first."""
        with self._changed:
            return list(self._messages)

    @property
    def attempts(self) -> list[tuple[float, str]]:
        """The time and the address of each recipient that a client has named, refused ones too."""
        with self._changed:
            return list(self._attempts)

    @property
    def connections(self) -> int:
        """How many TCP connections were made so far."""
        return len(self.calls)

    def wait_for(self, count: int, *, timeout: float = 10.0) -> list[ReceivedMail]:
        """Return the mails as soon as there are `count`. Raises TimeoutError after `timeout` seconds."""
        with self._changed:
            if not self._changed.wait_for(lambda: len(self._messages) >= count, timeout):
                raise TimeoutError(f"{len(self._messages)} of {count} mails came within {timeout:g} seconds.")
            return list(self._messages)

    def start(self) -> None:
        """Listen, on the same port as before. Raises OSError when another has taken it."""
        if self._thread is not None:
            return
        self._loop = asyncio.new_event_loop()
        try:
            listener = self._loop.run_until_complete(
                self._loop.create_server(self._accept, "127.0.0.1", self.port, backlog=1000)
            )
        except OSError:
            self._loop.close()
            raise
        self.port = listener.sockets[0].getsockname()[1]
        self._thread = threading.Thread(target=self._serve, args=[self._loop, listener], daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Refuse connections from now on, and drop the open ones unanswered, as an outage does."""
        if self._thread is None or self._loop is None:
            return
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._thread = None

    def _serve(self, loop: asyncio.AbstractEventLoop, listener: asyncio.Server) -> None:
        loop.run_forever()
        listener.close()
        loop.run_until_complete(self._hang_up())
        loop.close()

    async def _hang_up(self) -> None:
        for connection in list(self.open):
            connection.abort()
        dialogues = asyncio.all_tasks() - {asyncio.current_task()}
        for dialogue in dialogues:
            dialogue.cancel()
        await asyncio.gather(*dialogues, return_exceptions=True)

    def _accept(self) -> Connection:
        assert self._loop is not None
        self.calls.append(time.time())
        return Connection(self, number=self.connections, loop=self._loop)

    def next_reply(self, phase: str) -> str:
        """Take the next reply of that phase off its script; empty when none is left."""
        script = self._scripts[phase]
        return script.pop(0) if script else ""

    def next_reply_to(self, recipient: str) -> str:
        """Note the attempt, and return its reply: by the rules, or else by the script."""
        with self._changed:
            self._attempts.append((time.time(), recipient))
        before = self._seen[recipient]
        self._seen[recipient] += 1
        for rule, replies in self.rules:
            if rule(recipient) if callable(rule) else fnmatchcase(recipient, rule):
                reply = replies[min(before, len(replies) - 1)]
                check_reply(reply, phase="rcpt")
                return reply
        return self.next_reply("rcpt")

    def take(self, envelope: Envelope, *, connection: int) -> None:
        """Store the mail, once for each recipient."""
        content = bytes(envelope.original_content or b"")
        found = MESSAGE_ID.search(content.partition(b"\r\n\r\n")[0])
        for recipient in envelope.rcpt_tos:
            mail = ReceivedMail(
                sender=envelope.mail_from or "",
                recipient=recipient,
                content=content,
                message_id=found[1].decode() if found else "",
                received_at=time.time(),
                connection=connection,
            )
            with self._changed:
                self._messages.append(mail)
                self._write(mail, number=len(self._messages))
                self._changed.notify_all()

    def _write(self, mail: ReceivedMail, *, number: int) -> None:
        if self.folder is not None:
            self.folder.mkdir(parents=True, exist_ok=True)
            name = f"{number:05d} {quote(mail.recipient, safe='@+')[:200]}.eml"
            (self.folder / name).write_bytes(mail.content)
