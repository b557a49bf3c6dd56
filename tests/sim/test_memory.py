"""The memory a server takes, added up by hand, and the machine's limit on it."""

from __future__ import annotations

import pytest
from round_costs import free_costs

from iosim.errors import IosimError
from iosim.kernel import EPOLL_CTL_ADD, Call, Kernel
from iosim.machine import Machine
from iosim.models.blocking import serve
from iosim.results import Run
from iosim.sim import simulate
from iosim.workload import Workload

COSTS = free_costs(thread_bytes=1_000, socket_bytes=100, epoll_item_bytes=10, poll_entry_bytes=1)
LOAD = Workload(connections=5, requests=20)

TAKEN = {
    # A thread for each connection, and the one that accepts.
    "blocking": {"threads": 6_000, "sockets": 500, "epoll_items": 0, "poll_entries": 0},
    # The listener is watched too.
    "epoll": {"threads": 1_000, "sockets": 500, "epoll_items": 60, "poll_entries": 0},
    "poll": {"threads": 1_000, "sockets": 500, "epoll_items": 0, "poll_entries": 6},
    "select": {"threads": 1_000, "sockets": 500, "epoll_items": 0, "poll_entries": 6},
    # One thread accepts, one serves, and each connection's read has a helper.
    "aio": {"threads": 7_000, "sockets": 500, "epoll_items": 0, "poll_entries": 0},
    # Connections that wait for accept take memory too.
    "blocking-serial": {"threads": 1_000, "sockets": 500, "epoll_items": 0, "poll_entries": 0},
}


def run(model: str, memory_bytes: int = 10**6, **options: bool) -> Run:
    machine = Machine(memory_bytes=memory_bytes)
    return simulate(model, LOAD, profile=COSTS, machine=machine, **options)


@pytest.mark.parametrize("model", TAKEN)
def test_sums(model: str) -> None:
    taken = TAKEN[model]
    assert run(model).memory_bytes == taken | {"total": sum(taken.values())}


@pytest.mark.parametrize("model", TAKEN)
def test_the_limit_is_exact(model: str) -> None:
    total = sum(TAKEN[model].values())
    fits = run(model, total)
    assert fits.memory_bytes is not None
    assert fits.memory_bytes["total"] == total
    with pytest.raises(IosimError, match=r"more memory than the machine has.*fewer connections"):
        run(model, total - 1)
    over = run(model, total - 1, oversubscribe=True)
    assert (over.records == fits.records).all()
    assert over.memory_bytes == fits.memory_bytes


def test_a_refusal_names_what_there_is_and_what_takes_it() -> None:
    said = r"has, 3000 B: already 5 sockets take 500 B, 3 threads take 3000 B; use fewer"
    with pytest.raises(IosimError, match=said):
        run("blocking", 3_000)


def test_the_sockets_of_all_clients_count_from_the_start() -> None:
    """Before any thread has been made."""
    with pytest.raises(IosimError, match=r"has, 499 B: already 5 sockets take 500 B; use fewer"):
        run("blocking", 499)


def test_a_closed_epoll_instance_gives_its_items_back() -> None:
    def program(kernel: Kernel, listener: int) -> Call[None]:
        for _ in range(3):
            inner = yield from kernel.epoll_create()
            outer = yield from kernel.epoll_create()
            yield from kernel.epoll_ctl(inner, EPOLL_CTL_ADD, listener)
            yield from kernel.epoll_ctl(outer, EPOLL_CTL_ADD, inner)
            yield from kernel.epoll_ctl(outer, EPOLL_CTL_ADD, listener)
            # The first takes two items with it, the second the one that is left.
            yield from kernel.close(inner)
            yield from kernel.close(outer)
        yield from serve(kernel, (yield from kernel.accept(listener)))

    memory = simulate(program, Workload(connections=1, requests=1), profile=COSTS).memory_bytes
    assert memory == {
        "threads": 1_000,
        "sockets": 100,
        "epoll_items": 30,
        "poll_entries": 0,
        "total": 1_130,
    }
