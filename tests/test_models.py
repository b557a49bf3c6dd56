"""Models by name and as instances: choices, aliases and parameters."""

from __future__ import annotations

import dataclasses
import selectors

import pytest

from iosim.errors import IosimError
from iosim.kernel import Call, Kernel
from iosim.models import MODELS, Aio, BlockingPool, Epoll, Model, NonblockingSleep, get, resolve
from iosim.sim import simulate
from iosim.workload import Workload

FAMILIES = {
    "blocking": ["blocking", "blocking-pool", "blocking-serial"],
    "nonblocking": ["nonblocking", "nonblocking-sleep"],
    "multiplexing": ["select", "poll", "epoll", "epoll-et"],
    "signal-driven": ["sigio", "rtsig"],
    "asynchronous": ["aio", "io_uring", "io_uring-multishot", "io_uring-sqpoll"],
}


def test_all_variants_of_the_five_models() -> None:
    found: dict[str, list[str]] = {}
    for name, model in MODELS.items():
        assert model.name == name
        assert model.phase_1
        assert model.phase_2
        found.setdefault(model.family, []).append(name)
    assert found == FAMILIES


def test_models_are_values() -> None:
    assert Epoll() == get("epoll")
    assert hash(Epoll(trigger="edge")) == hash(get("epoll-et"))
    with pytest.raises(dataclasses.FrozenInstanceError):
        Epoll().trigger = "edge"  # type: ignore[misc]


def test_unknown_model_lists_the_choices() -> None:
    with pytest.raises(IosimError) as caught:
        get("epol")
    said = f"unknown model 'epol' (did you mean epoll?): choose one of {', '.join(MODELS)}"
    assert str(caught.value) == said
    with pytest.raises(IosimError, match=r"^unknown model 'kqueue': choose one of blocking,"):
        get("kqueue")


def test_aliases() -> None:
    picked = selectors.DefaultSelector.__name__.removesuffix("Selector").lower()
    assert get("multiplexing").name == picked
    assert get("signal-driven").name == "sigio"
    assert get("asynchronous").name == "io_uring"


def test_parameters() -> None:
    assert get("aio", threads=3) == Aio(threads=3)
    assert get("epoll", trigger="edge").name == "epoll-et"
    assert get(BlockingPool(threads=5), threads=6) == BlockingPool(threads=6)
    assert get("nonblocking-sleep", interval_ns=0) == NonblockingSleep(interval_ns=0)


@pytest.mark.parametrize(
    ("model", "parameters", "said"),
    [
        ("aio", {"thread": 3}, "model 'aio' has no parameter 'thread': its parameters are threads"),
        ("aio", {"completion": "poll"}, "completion = 'poll' must be one of signal, callback"),
        ("epoll", {"x": 3}, "its parameters are trigger, max_events"),
        ("blocking", {"threads": 3}, "its parameters are none"),
        ("blocking-pool", {"threads": 0}, "threads = 0 must be a whole number from 1 on"),
        ("aio", {"threads": "many"}, "threads = 'many' must be a whole number"),
        ("aio", {"threads": 2.5}, "threads = 2.5 must be a whole number"),
        ("aio", {"threads": True}, "threads = True must be a whole number"),
        ("epoll", {"trigger": "both"}, "trigger = 'both' must be one of level, edge"),
        ("nonblocking-sleep", {"interval_ns": -1}, "interval_ns = -1 must be .* from 0 on"),
    ],
)
def test_bad_parameters(model: str, parameters: dict[str, object], said: str) -> None:
    with pytest.raises(IosimError, match=said):
        get(model, **parameters)


def test_bad_parameters_of_an_instance() -> None:
    with pytest.raises(IosimError, match="Epoll: max_events = 0 must be a whole number from 1 on"):
        Epoll(max_events=0)


def test_resolve() -> None:
    def mine(kernel: Kernel, listener: int) -> Call[None]:
        yield from kernel.accept(listener)

    assert resolve("epoll")[0] == "epoll"
    assert resolve(Epoll(trigger="edge"))[0] == "epoll-et"
    assert resolve(mine) == ("mine", mine)


@pytest.mark.parametrize("name", MODELS)
def test_a_model_goes_by_name_or_as_itself(name: str) -> None:
    load = Workload(connections=1, requests=5)
    model: Model = MODELS[name]
    assert (simulate(name, load).records == simulate(model, load).records).all()
    assert (simulate(model.program, load).records == simulate(model, load).records).all()
