import asyncio
import socket
from contextlib import ExitStack

import uvloop

from sandbox.listening import ACCEPTED_A_TURN, descriptors, listen


def test_connections_that_wait_are_accepted_several_in_a_turn_of_the_loop():
    waiting, turns_needed = 10 * ACCEPTED_A_TURN, []

    async def accept_all():
        loop, accepted, turns = asyncio.get_running_loop(), [], 0
        protocol = type("Protocol", (asyncio.Protocol,), {"connection_made": lambda _, made: accepted.append(made)})
        with ExitStack() as clients:
            listener = listen("127.0.0.1", 0)
            servers = [await loop.create_server(protocol, sock=one, backlog=4096) for one in descriptors(listener)]
            for _ in range(waiting):
                clients.enter_context(socket.create_connection(listener.getsockname()))
            while (before := len(accepted)) < waiting:
                await asyncio.sleep(0)
                turns += len(accepted) > before  # the kernel may let the last ones wait for a while
            for server in servers:
                server.close()
        turns_needed.append(turns)

    uvloop.run(asyncio.wait_for(accept_all(), 60))
    assert turns_needed[0] < waiting / 4
