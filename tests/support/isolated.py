"""Run a server that listens on all interfaces where nobody but us can reach it: in a network namespace of its own.

    unshare --net python isolated.py LISTENING_FD PORT COMMAND...

The parent makes a socket that listens on 127.0.0.1 and hands it over; a socket stays in the namespace that it was made
in. This program, inside the new namespace, starts COMMAND and passes what comes in on that socket to its PORT.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import signal
import socket
import struct
import sys
from typing import cast

_GET_FLAGS, _SET_FLAGS, _UP = 0x8913, 0x8914, 0x1  # SIOCGIFFLAGS, SIOCSIFFLAGS, IFF_UP
_START_SECONDS = 30


def bring_loopback_up() -> None:
    """A new namespace has a loopback interface, switched off."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        request = struct.pack("16sh14x", b"lo", 0)
        _, flags = struct.unpack("16sh14x", fcntl.ioctl(control, _GET_FLAGS, request))
        fcntl.ioctl(control, _SET_FLAGS, struct.pack("16sh14x", b"lo", flags | _UP))


class Pipe(asyncio.Protocol):
    """One direction of a connection: what arrives goes to the peer."""

    def __init__(self, peer: asyncio.Transport | None = None) -> None:
        self.peer = peer
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport; the other direction writes to it."""
        self.transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        """Pass it on."""
        if self.peer:
            self.peer.write(data)

    def connection_lost(self, _: Exception | None) -> None:
        """One side closed: so does the other."""
        if self.peer:
            self.peer.close()


async def relay(connection: socket.socket, port: int) -> None:
    """Tie an accepted connection to one to the server."""
    loop = asyncio.get_running_loop()
    server, inner = await loop.create_connection(Pipe, "127.0.0.1", port)
    client, _ = await loop.connect_accepted_socket(lambda: Pipe(server), connection)
    inner.peer = client


async def serve(listener: socket.socket, port: int, command: list[str]) -> None:
    """Start the server, then relay until it ends."""
    process = await asyncio.create_subprocess_exec(*command)
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, process.kill)
    try:
        await asyncio.wait_for(_listening(port), _START_SECONDS)
        accepting = asyncio.create_task(_accept(listener, port))
        await process.wait()
        accepting.cancel()
    finally:
        if process.returncode is None:
            process.kill()


async def _accept(listener: socket.socket, port: int) -> None:
    loop = asyncio.get_running_loop()
    while True:
        connection, _ = await loop.sock_accept(listener)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        await relay(connection, port)


async def _listening(port: int) -> None:
    while True:
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
        except ConnectionError:
            await asyncio.sleep(0.05)
        else:
            writer.close()
            return


def main() -> None:
    """Take the socket over and serve."""
    descriptor, port, *command = sys.argv[1:]
    bring_loopback_up()
    listener = socket.socket(fileno=int(descriptor))
    listener.setblocking(False)
    os.set_inheritable(int(descriptor), False)
    asyncio.run(serve(listener, int(port), command))


if __name__ == "__main__":
    main()
