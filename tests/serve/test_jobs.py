"""The line of pieces: who comes when, what is not begun, what is told."""

import asyncio
import threading

import pytest

from malsori.serve.errors import HttpError
from malsori.serve.jobs import JobQueue


@pytest.fixture
def queue():
    """A queue of one worker."""
    queue = JobQueue(workers=1, max_requests=2)
    yield queue
    queue.close()


def test_pieces_of_several_requests_take_turns(queue):
    done, begin = [], threading.Event()

    async def request(name):
        async for item in queue.iterate(iter([1, 2])):
            done.append(f"{name}{item}")

    async def main():
        first = asyncio.ensure_future(queue.run(begin.wait))
        both = [asyncio.ensure_future(request(name)) for name in "ab"]
        await asyncio.sleep(0.05)
        begin.set()
        await asyncio.gather(first, *both)

    asyncio.run(main())
    assert done == ["a1", "b1", "a2", "b2"]


def test_a_faulty_piece_is_told_and_the_worker_goes_on(queue):
    async def main():
        return await asyncio.gather(queue.run(int, "x"), queue.run(int, "1"), return_exceptions=True)

    fault, result = asyncio.run(main())
    assert isinstance(fault, ValueError) and result == 1


def test_what_nobody_waits_for_is_not_begun(queue):
    begun, begin = [], threading.Event()

    async def main():
        first = asyncio.ensure_future(queue.run(begin.wait))
        left = asyncio.ensure_future(queue.run(begun.append, "left"))
        stays = asyncio.ensure_future(queue.run(begun.append, "stays"))
        await asyncio.sleep(0.05)
        left.cancel()
        begin.set()
        await asyncio.gather(first, stays)

    asyncio.run(main())
    assert begun == ["stays"]


def test_no_more_requests_are_admitted_than_there_are_places(queue):
    with queue.admission(), queue.admission(), pytest.raises(HttpError) as refused, queue.admission():
        pass
    assert refused.value.status_code == 429 and queue.admitted == 0


def test_a_closed_queue_tells_those_who_wait():
    queue, begin = JobQueue(1, 1), threading.Event()

    async def main():
        first = asyncio.ensure_future(queue.run(begin.wait))
        waiting = asyncio.ensure_future(queue.run(int))
        await asyncio.sleep(0.05)
        threading.Timer(0.1, begin.set).start()
        await asyncio.to_thread(queue.close)
        return await asyncio.gather(first, waiting, return_exceptions=True)

    first, waiting = asyncio.run(main())
    assert first is True and waiting.status_code == 503


def test_items_of_an_iterator_are_pieces_of_their_own(queue):
    async def main():
        return [item async for item in queue.iterate(iter("abc"))]

    assert asyncio.run(main()) == ["a", "b", "c"]
