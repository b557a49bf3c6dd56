"""The scenarios can fail: break one rule of the simulated kernel, and one of them tells.

A mutation may also break scenarios of other rules, or have a program wait for ever or fail; what is
named here is the scenario of the rule itself.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

import pytest
from conformance.scenario import SCENARIOS
from conformance.simulated import Simulated
from conformance.test_scenarios import PATIENCE_S  # noqa: F401 (it registers the scenarios)

from iosim.kernel import EPOLLET, EPOLLEXCLUSIVE, EPOLLIN, EPOLLONESHOT
from iosim.sim import pending, readiness, rings, sockets
from iosim.sim.kernel import SimKernel

Mutate = Callable[[pytest.MonkeyPatch], None]


def ignoring(flag: int) -> Mutate:
    """epoll_ctl does not know a flag."""
    control = readiness.ReadinessCalls.epoll_ctl

    def forgetful(self: Any, epfd: int, op: int, fd: int, events: int = EPOLLIN) -> Any:
        yield from control(self, epfd, op, fd, events & ~flag)

    return lambda patch: patch.setattr(readiness.ReadinessCalls, "epoll_ctl", forgetful)


def standard_signals_queue(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(pending, "SIGRTMIN", 0)


def overflown_completions_are_dropped(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(rings.Ring, "flush", lambda self: self.overflown.clear())


def a_backlog_is_never_full(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(sockets.Listener, "full", False)


def a_full_buffer_drops(patch: pytest.MonkeyPatch) -> None:
    deliver = sockets.deliver

    def dropping(system: Any, connection: sockets.Connection, nbytes: int) -> bool:
        woke = deliver(system, connection, nbytes)
        connection.unread = min(connection.unread, system.receive_buffer_bytes)
        return woke

    patch.setattr("conformance.simulated.deliver", dropping)


def a_fin_overtakes_the_data(patch: pytest.MonkeyPatch) -> None:
    hang_up = sockets.hang_up

    def at_once(system: Any, connection: sockets.Connection) -> None:
        connection.unread = 0
        hang_up(system, connection)

    patch.setattr("conformance.simulated.hang_up", at_once)


def threads_wait_in_accept_last_come_first(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(sockets.Listener, "wakes_one", False)


def buffers_never_run_out(patch: pytest.MonkeyPatch) -> None:
    register = rings.RingCalls.io_uring_register_buffers

    def generous(self: Any, ring: rings.Ring, count: int, nbytes: int) -> Any:
        yield from register(self, ring, count, nbytes)
        ring.buffers = deque(range(1000))

    patch.setattr(rings.RingCalls, "io_uring_register_buffers", generous)


def an_instance_goes_by_its_ready_list(patch: pytest.MonkeyPatch) -> None:
    listed = property(lambda self: bool(self.ready))
    patch.setattr(readiness.EpollInstance, "readable", listed)


def instances_nest_six_deep(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(readiness.too_deep, "__defaults__", (6,))


def a_signalfd_is_readable_for_all_threads(patch: pytest.MonkeyPatch) -> None:
    def for_any(self: pending.Signals, thread: Any, wanted: Any) -> bool:
        return any(receiver.pending.has(wanted) for receiver in self._threads)

    patch.setattr(pending.Signals, "pending", for_any)


def closing_ends_what_is_under_way(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(sockets, "let_go", sockets.release)


MUTATIONS: dict[str, tuple[Mutate, str]] = {
    "ET reports again": (ignoring(EPOLLET), "edge_triggered_is_silent_with_data_left"),
    "ONESHOT stays armed": (ignoring(EPOLLONESHOT), "one_shot_is_silent_until_rearmed"),
    "EXCLUSIVE wakes all": (ignoring(EPOLLEXCLUSIVE), "an_exclusive_listener_wakes_one_instance"),
    "SIGIO queues": (standard_signals_queue, "standard_signals_merge"),
    "CQ overflow is dropped": (
        overflown_completions_are_dropped,
        "overflown_completions_come_later_in_order",
    ),
    "a backlog is never full": (
        a_backlog_is_never_full,
        "a_full_backlog_ignores_a_client_until_it_tries_again",
    ),
    "a full receive buffer drops": (a_full_buffer_drops, "a_full_receive_buffer_stalls_the_sender"),
    "a FIN overtakes the data": (a_fin_overtakes_the_data, "the_stream_ends_after_its_data"),
    "accept serves who came last": (
        threads_wait_in_accept_last_come_first,
        "threads_in_accept_are_served_in_turn",
    ),
    "an instance goes by its ready list": (
        an_instance_goes_by_its_ready_list,
        "an_instance_is_readable_with_events",
    ),
    "instances nest six deep": (instances_nest_six_deep, "nesting_has_limits"),
    "a signalfd is readable for all threads": (
        a_signalfd_is_readable_for_all_threads,
        "a_look_of_another_thread_hides_a_signal",
    ),
    "buffers never run out": (buffers_never_run_out, "multishot_recv_ends_without_buffers"),
    "closing ends what is under way": (
        closing_ends_what_is_under_way,
        "a_recv_outlives_its_descriptor",
    ),
}


def failing() -> set[str]:
    """The scenarios whose transcript is not what it should be."""
    names = set()
    for scenario in SCENARIOS.values():
        run = Simulated(scenario, SimKernel)
        try:
            run.run()
        except Exception:
            names.add(scenario.name)
        else:
            if run.text() != scenario.expect:
                names.add(scenario.name)
    return names


def test_nothing_fails_without_a_mutation() -> None:
    assert failing() == set()


@pytest.mark.parametrize(("mutate", "caught_by"), MUTATIONS.values(), ids=MUTATIONS.keys())
def test_mutation_is_caught(
    mutate: Mutate, caught_by: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    mutate(monkeypatch)
    assert caught_by in failing()
