"""The server: pages behind their guard, on an address of this machine."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import AsyncIterator, Sequence

import uvicorn
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware

from skinjax.app.engine import Engine
from skinjax.app.figures import RunFigures
from skinjax.app.guard import Guard, addresses
from skinjax.app.pages import Pages
from skinjax.app.worker import Worker


def make_app(
    engine: Engine,
    figures: RunFigures | None = None,
    notes: Sequence[str] = (),
    host: str = "127.0.0.1",
    token: str = "",
    worker: Worker | None = None,
) -> Starlette:
    """Makes the application.

    Args:
      engine: The run that answers.
      figures: Its own figures.
      notes: What its answers rest on, in sentences.
      host: The host that the server is bound to.
      token: What every request must show; empty for none.
      worker: Where answers are computed; None makes one.
    """
    worker = worker or Worker()
    pages = Pages(engine, worker, figures or RunFigures(), tuple(notes))

    @contextlib.asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        yield
        worker.close()

    return Starlette(
        routes=pages.routes(),
        middleware=[Middleware(Guard, host=host, token=token)],
        exception_handlers={HTTPException: pages.missing},
        lifespan=lifespan,
    )


def listen(host: str, port: int) -> socket.socket:
    """Returns a socket that listens on a host and port.

    Args:
      host: An address or name of this machine.
      port: 0 for a free one.

    Raises:
      ValueError: The port is in use, or the host is none of this machine.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family)
    except OSError as error:
        raise ValueError(
            f"host={host} and port={port} cannot be listened on ({error.strerror or error}); give another port=NUMBER, "
            "0 for a free one, or another host=ADDRESS"
        ) from None


def make_server(app: Starlette) -> uvicorn.Server:
    """Makes the server of an application; `run(sockets=[listening])` answers until `should_exit` is set.

    Args:
      app: Of `make_app`.
    """
    config = uvicorn.Config(
        app,
        log_level="critical",  # of requests that end with the server it would print tracebacks,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        timeout_graceful_shutdown=5,
        limit_concurrency=400,
    )
    return uvicorn.Server(config)


def serve(app: Starlette, listening: socket.socket) -> None:
    """Answers requests until the process is interrupted.

    Args:
      app: Of `make_app`.
      listening: Of `listen`.
    """
    with contextlib.suppress(KeyboardInterrupt):
        make_server(app).run(sockets=[listening])


def links(listening: socket.socket, host: str, token: str) -> list[str]:
    """Returns the links under which a server can be opened.

    Args:
      listening: Of `listen`.
      host: As it was given.
      token: The token; empty for none.
    """
    return list(addresses(host, listening.getsockname()[1], token))
