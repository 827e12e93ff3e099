"""The sandbox's clock against the machine's, on the event loop that the server runs on."""

import asyncio
import time

import uvloop

from sandbox.clock import LoopScheduler


def test_the_clock_is_the_machines_to_the_microsecond_however_long_the_loop_was_busy():
    async def look():
        scheduler = LoopScheduler(asyncio.get_running_loop())
        time.sleep(0.005)
        return time.time(), scheduler.now(), time.time()

    before, now, after = uvloop.run(look())
    assert before - 1e-4 <= now <= after + 1e-4


def test_an_alarm_rings_at_its_time():
    async def wait():
        loop = asyncio.get_running_loop()
        scheduler, rang = LoopScheduler(loop), loop.create_future()
        due = scheduler.now() + 0.02
        scheduler.at(due, lambda: rang.set_result(scheduler.now()))
        return await rang - due

    assert uvloop.run(wait()) > -0.001  # timers of the loop are whole milliseconds
