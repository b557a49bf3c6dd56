"""Servers of Python's frameworks that answer fixed requests, written as their manuals do.

python experiments/frameworks/servers.py NAME CORE NBYTES           serve; prints the port
python experiments/frameworks/servers.py NAME CORE NBYTES --cost    what one request takes, ns

Run by run.py, each in a process of its own.
"""

from __future__ import annotations

import asyncio
import gc
import os
import socket
import sys
import time
from collections.abc import Awaitable, Callable
from statistics import median

CONNECTIONS, WARM_UP, ROUNDS = 64, 200, 2_000
MOST_TURNS = 10


async def asyncio_streams(listener: socket.socket, nbytes: int) -> None:
    """asyncio's streams: a coroutine for each connection."""
    reply = bytes(nbytes)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                await reader.readexactly(nbytes)
                writer.write(reply)
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    await asyncio.start_server(serve, sock=listener)


async def asyncio_protocol(listener: socket.socket, nbytes: int) -> None:
    """asyncio's protocols: callbacks for each connection."""
    reply = bytes(nbytes)

    class Answering(asyncio.Protocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            self.transport = transport
            self.received = 0

        def data_received(self, data: bytes) -> None:
            whole, self.received = divmod(self.received + len(data), nbytes)
            for _ in range(whole):
                self.transport.write(reply)

    await asyncio.get_running_loop().create_server(Answering, sock=listener)


async def tornado(listener: socket.socket, nbytes: int) -> None:
    """Tornado's TCPServer: a coroutine for each connection."""
    from tornado.iostream import IOStream, StreamClosedError
    from tornado.tcpserver import TCPServer

    reply = bytes(nbytes)

    class Answering(TCPServer):
        async def handle_stream(self, stream: IOStream, address: object) -> None:
            stream.set_nodelay(True)
            try:
                while True:
                    await stream.read_bytes(nbytes)
                    await stream.write(reply)
            except StreamClosedError:
                pass

    Answering().add_sockets([listener])


SERVERS: dict[str, Callable[[socket.socket, int], Awaitable[None]]] = {
    "asyncio streams": asyncio_streams,
    "asyncio protocol": asyncio_protocol,
    "tornado": tornado,
}


def listen() -> socket.socket:
    """A listening socket on loopback."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=4_096)
    listener.setblocking(False)
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listener


async def turns(count: int) -> None:
    """Let the loop look for events so many times."""
    for _ in range(count):
        await asyncio.sleep(0)


def cost_ns(name: str, nbytes: int) -> float:
    """Processor time of one request that finds the loop waiting: one is sent, and the loop turns as
    often as it must until the answer is there. What starting and ending a loop takes is taken off.
    """
    loop = asyncio.new_event_loop()
    listener = listen()
    loop.run_until_complete(SERVERS[name](listener, nbytes))
    clients = [socket.create_connection(listener.getsockname()) for _ in range(CONNECTIONS)]
    # Accepting takes a turn or two, and so does beginning to read.
    loop.run_until_complete(turns(5 * CONNECTIONS))
    request = bytes(nbytes)

    def answered(client: socket.socket) -> bool:
        try:
            return len(client.recv(nbytes, socket.MSG_DONTWAIT)) == nbytes
        except BlockingIOError:
            return False

    needed = 0
    for client in clients:
        client.sendall(request)
        taken = 0
        while not answered(client):
            taken += 1
            if taken > MOST_TURNS:
                raise SystemExit(f"{name}: no answer after {MOST_TURNS} turns of the loop")
            loop.run_until_complete(turns(1))
        needed = max(needed, taken)
    spent_ns, started_ns = [], []
    gc.disable()
    for number in range(WARM_UP + ROUNDS):
        client = clients[number % CONNECTIONS]
        began_ns = time.thread_time_ns()
        loop.run_until_complete(turns(0))
        started_ns.append(time.thread_time_ns() - began_ns)
        client.sendall(request)
        began_ns = time.thread_time_ns()
        loop.run_until_complete(turns(needed))
        spent_ns.append(time.thread_time_ns() - began_ns)
        assert answered(client)
    return median(spent_ns[WARM_UP:]) - median(started_ns[WARM_UP:])


def main() -> None:
    """Serve, or measure."""
    name, core, nbytes, *cost = sys.argv[1:]
    os.sched_setaffinity(0, {int(core)})
    if cost:
        print(cost_ns(name, int(nbytes)), flush=True)
        os._exit(0)  # the coroutines of the connections have no end
    listener = listen()

    async def serve() -> None:
        await SERVERS[name](listener, int(nbytes))
        print(listener.getsockname()[1], flush=True)
        await asyncio.Event().wait()

    gc.disable()
    asyncio.run(serve())


if __name__ == "__main__":
    main()
