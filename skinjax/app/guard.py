"""Guards the server: who may ask it, and what its pages may load.

Four checks stand before every page, in pure ASGI so that bodies stream through:

1. **Host**: the name in the `Host` header is an address, `localhost`, or the machine's own name. A page of another site
   that had its name pointed here (DNS rebinding) is refused.
2. **Token**, where the server is bound to more than this machine: a random word in the link that the command prints,
   then in a cookie that scripts cannot read and other sites do not send.
3. **Origin**: what changes or computes something (anything but GET and HEAD) comes from a page of this server.
4. **Headers**: a content security policy under which a page loads nothing from elsewhere, runs no inline script and is
   shown in no frame; no referrer, no guessing of types, and no answer in a cache.
"""

from __future__ import annotations

import hmac
import ipaddress
import secrets
import socket
from collections.abc import Iterable
from urllib.parse import parse_qsl, urlencode, urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import cookie_parser
from starlette.responses import PlainTextResponse, RedirectResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

COOKIE = "skinjax_token"
"""Name of the cookie that holds the token."""

PAGE_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
"""Content security policy of our own pages."""

REPORT_POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; img-src 'self' data:; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'"
)
"""Policy for a run's report, which holds its style and figures in itself, and no script."""

_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    # With "no-referrer" browsers would send "Origin: null" with a form, which could not be told from another site's.
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "Cache-Control": "no-store",
}


def is_loopback(host: str) -> bool:
    """Says whether a host to bind to is this machine alone.

    Args:
      host: An address or a name.

    >>> [is_loopback(host) for host in ("127.0.0.1", "localhost", "::1", "0.0.0.0", "192.168.1.5")]
    [True, True, True, False, False]
    """
    if host.casefold() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def new_token() -> str:
    """Returns a token that cannot be guessed: 192 random bits."""
    return secrets.token_urlsafe(24)


class Guard:
    """ASGI middleware that checks requests and adds headers; see the module.

    Args:
      app: What it stands before.
      host: The host that the server is bound to.
      token: What every request must show; empty for no token.
    """

    def __init__(self, app: ASGIApp, host: str = "127.0.0.1", token: str = "") -> None:
        self._app = app
        self._token = token
        own = {"localhost", host.casefold()}
        if not is_loopback(host):
            name = socket.gethostname().casefold()
            own |= {name, f"{name.split('.')[0]}.local"}
        self._names = frozenset(own)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers a request or passes it on."""
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self._app(scope, receive, send)
            return

        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers.setdefault(name, value)
                headers.setdefault("Content-Security-Policy", PAGE_POLICY)
                if "server" in headers:
                    del headers["server"]
            await send(message)

        refused = self._refused(scope)
        await (refused or self._app)(scope, receive, send_guarded)

    def _refused(self, scope: Scope) -> ASGIApp | None:
        headers = Headers(scope=scope)
        if not self._own(headers.get("host", "")):
            return PlainTextResponse("This server does not answer under this name.", 421)
        if scope["method"] not in ("GET", "HEAD") and not _same_origin(headers):
            return PlainTextResponse("This page may be used from its own address alone.", 403)
        if self._token:
            return self._without_token(scope, headers)
        return None

    def _own(self, host: str) -> bool:
        try:
            name = urlsplit(f"//{host}").hostname if host and "@" not in host else None
        except ValueError:  # such as an open bracket
            return False
        return name is not None and (_is_address(name) or name in self._names)

    def _without_token(self, scope: Scope, headers: Headers) -> ASGIApp | None:
        pairs = parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True)
        shown = next((value for name, value in pairs if name == "token"), None)
        if shown is not None and scope["method"] == "GET" and self._right(shown):
            rest = urlencode([(name, value) for name, value in pairs if name != "token"])
            target = scope["path"] + (f"?{rest}" if rest else "")
            response = RedirectResponse("/" + target.lstrip("/\\"), 303)
            response.set_cookie(COOKIE, self._token, httponly=True, samesite="lax")
            return response
        if self._right(cookie_parser(headers.get("cookie", "")).get(COOKIE, "")):
            return None
        return PlainTextResponse(
            "This page needs the link with its token, which the command printed when it started.", 403
        )

    def _right(self, word: str) -> bool:
        return hmac.compare_digest(word.encode("utf-8", "replace"), self._token.encode())


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _same_origin(headers: Headers) -> bool:
    """Says whether a request comes from a page of this server, or from no browser at all."""
    origin = headers.get("origin")
    if origin is not None:
        return origin.partition("://")[2].casefold() == headers.get("host", "").casefold()
    return headers.get("sec-fetch-site", "same-origin") in ("same-origin", "none")


def addresses(host: str, port: int, token: str) -> Iterable[str]:
    """Yields the links under which a server can be opened.

    Args:
      host: The host that it is bound to.
      port: Its port.
      token: Its token; empty for none.

    >>> list(addresses("127.0.0.1", 8000, ""))
    ['http://127.0.0.1:8000/']
    """
    suffix = f"?token={token}" if token else ""
    names = [host]
    if host in ("0.0.0.0", "::"):
        names = ["127.0.0.1" if host == "0.0.0.0" else "::1", socket.gethostname()]
    for name in names:
        yield f"http://{f'[{name}]' if ':' in name else name}:{port}/{suffix}"
