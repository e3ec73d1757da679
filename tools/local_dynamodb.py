"""A DynamoDB of this machine's own: moto, its requests one at a time.

    python tools/local_dynamodb.py            # prints its URL and serves until stopped

It is served with a single worker thread, because moto's checks and its writes are separate steps: with several threads
it loses acknowledged writes and lets several conditional writers win. With `--until-eof` it ends with the process that
started it: when its standard input closes.
"""

from __future__ import annotations

import argparse
import logging
import sys
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager

import waitress
from moto.dynamodb.models.dynamo_type import Item
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app

HOST = "127.0.0.1"
_LONGEST_QUEUE = 1_000
_LARGEST_REQUEST_BYTES = 64 * 1024 * 1024


@contextmanager
def running(port: int = 0, host: str = HOST) -> Iterator[str]:
    """Serve from a thread of this process.

    Args:
        port: Where to listen; 0 for a free one.
        host: The address to listen on.

    Yields:
        The endpoint's URL.
    """
    # Otherwise moto keeps every version of every item, for a page that nobody asks for.
    Item.instances_tracked = deque(maxlen=0)  # type: ignore[attr-defined]
    logging.getLogger("waitress.queue").setLevel(logging.ERROR)  # waiting is what one worker is for
    server = waitress.create_server(
        DomainDispatcherApplication(create_backend_app),
        host=host,
        port=port,
        threads=1,
        connection_limit=_LONGEST_QUEUE,
        inbuf_overflow=_LARGEST_REQUEST_BYTES,  # bodies stay in memory, not in temporary files
        outbuf_overflow=_LARGEST_REQUEST_BYTES,
        asyncore_use_poll=True,
    )
    threading.Thread(target=server.run, daemon=True).start()
    try:
        yield f"http://{host}:{server.effective_port}"
    finally:
        server.close()


def main() -> None:
    """Serve until interrupted, or until standard input closes if so asked."""
    parser = argparse.ArgumentParser(description="A local DynamoDB for development and tests.")
    parser.add_argument("--port", type=int, default=0, help="0, the default, picks a free one")
    parser.add_argument("--until-eof", action="store_true", help="end when standard input closes")
    arguments = parser.parse_args()
    with running(arguments.port) as url:
        print(url, flush=True)
        try:
            if arguments.until_eof:
                sys.stdin.read()
            else:
                threading.Event().wait()
        except KeyboardInterrupt:
            pass


if __name__ == "__main__":
    main()
