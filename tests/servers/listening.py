"""An ASGI application on a real port: `with listening(app) as url`."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn
from fastapi import FastAPI

from streams.web.feeds import hub_of


@contextmanager
def listening(app: FastAPI, port: int = 0) -> Iterator[str]:
    """Run the app on loopback in a thread of its own until the block ends; gives its address."""
    server = uvicorn.Server(uvicorn.Config(app, port=port, log_config=None, timeout_graceful_shutdown=5))
    thread = threading.Thread(target=server.run, name="uvicorn", daemon=True)
    thread.start()
    until = time.monotonic() + 20
    while not server.started:
        assert thread.is_alive() and time.monotonic() < until, "the server did not start"
        time.sleep(0.01)
    try:
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        hub_of(app).close()
        server.should_exit = True
        thread.join(20)
        assert not thread.is_alive(), "the server did not stop"
