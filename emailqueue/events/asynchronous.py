"""How what a handler returns is waited for when the handler is async."""

from __future__ import annotations

import inspect

from asgiref.sync import async_to_sync


def awaited(answer: object) -> object:
    """Return `answer`; a coroutine, or another awaitable, is run in this thread until it has its result."""
    if not inspect.isawaitable(answer):
        return answer

    async def wait() -> object:
        return await answer

    return async_to_sync(wait)()
