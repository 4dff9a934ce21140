"""What both drivers need of httpx."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime, timezone
from typing import Any

import httpx

from ._clock import Clock
from ._steps import Get, Post
from ._version import __version__
from .models import Gap, OnGap

__all__ = [
    "ERROR_BODY_BYTES", "GapHandler", "NETWORK_ERRORS", "error_headers", "get_request",
    "post_request", "split_on_gap", "time_text",
]

GapHandler = Callable[[Gap], OnGap | None]
NETWORK_ERRORS = (httpx.HTTPError, httpx.StreamError, OSError)
ERROR_BODY_BYTES = 64 * 1024

_USER_AGENT = f"vidette-python/{__version__}"


def get_request(
    http: httpx.Client | httpx.AsyncClient, url: str, get: Get, real_limit: float | None,
    trace: Callable[[str, dict[str, Any]], None] | None = None,
) -> httpx.Request:
    """The request of a subscription. Without ``real_limit`` the driver times it by itself."""
    return http.build_request(
        "GET", url + get.path, params=list(get.parameters),
        headers=_headers(get.headers.items(), get.token),
        timeout=_timeout(real_limit),
        extensions={"trace": trace} if trace else {},
    )


def post_request(
    http: httpx.Client | httpx.AsyncClient, url: str, post: Post, clock: Clock,
) -> httpx.Request:
    """The request of a publish."""
    return http.build_request(
        "POST", url + "/v1/events", content=post.body,
        headers=_headers([("Content-Type", post.content_type)], post.token),
        timeout=_timeout(clock.real_limit(post.limit_seconds)),
    )


def error_headers(response: httpx.Response) -> Mapping[str, str]:
    """The headers that say when to come back; httpx has their names in lower case."""
    return dict(response.headers)


def split_on_gap(on_gap: Any) -> tuple[OnGap, Any]:
    """The policy that requests carry, and the caller's function if there is one."""
    return ("continue", on_gap) if callable(on_gap) else (on_gap, None)


def time_text(since: str | datetime | None) -> str | None:
    """A start in time as the gateway takes it; a ``datetime`` needs its zone."""
    if not isinstance(since, datetime):
        return since
    if since.tzinfo is None:
        raise ValueError("since has no time zone; use datetime.now(timezone.utc) or the like")

    return since.astimezone(timezone.utc).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _headers(own: Iterable[tuple[str, str]], token: str | None) -> list[tuple[str, str]]:
    headers = [("User-Agent", _USER_AGENT), *own]
    if token is not None:
        headers.append(("Authorization", f"Bearer {token}"))

    return headers


def _timeout(seconds: float | None) -> httpx.Timeout:
    return httpx.Timeout(None if seconds is None else max(seconds, 0.001))
