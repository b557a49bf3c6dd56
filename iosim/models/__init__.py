"""The five I/O models of Stevens (UNP vol. 1, chapter 6), each written once as a program."""

from __future__ import annotations

import dataclasses
import reprlib
import selectors
from collections.abc import Collection
from typing import Any

from iosim.errors import IosimError, did_you_mean
from iosim.kernel import Program
from iosim.models.asynchronous import Aio, IoUring, IoUringMultishot, IoUringSqpoll
from iosim.models.base import Model
from iosim.models.blocking import Blocking, BlockingPool, BlockingSerial
from iosim.models.multiplexing import Epoll, Poll, Select
from iosim.models.nonblocking import Nonblocking, NonblockingSleep
from iosim.models.signal_driven import Rtsig, Sigio
from iosim.provenance import name_of
from iosim.units import parse_count, parse_time

MODELS: dict[str, Model] = {
    model.name: model
    for model in (
        Blocking(),
        BlockingPool(),
        BlockingSerial(),
        Nonblocking(),
        NonblockingSleep(),
        Select(),
        Poll(),
        Epoll(),
        Epoll(trigger="edge"),
        Sigio(),
        Rtsig(),
        Aio(),
        IoUring(),
        IoUringMultishot(),
        IoUringSqpoll(),
    )
}
"""Every model by its public name, with default parameters."""

_ALIASES = {
    "multiplexing": selectors.DefaultSelector.__name__.removesuffix("Selector").lower(),
    "signal-driven": "sigio",
    "asynchronous": "io_uring",
}


def get(model: str | Model, **parameters: Any) -> Model:
    """The model of that name (or the model itself), with `parameters` changed.

    `"multiplexing"` means what Python's `selectors.DefaultSelector` picks on this platform.
    Raises IosimError for an unknown name or parameter.
    """
    if isinstance(model, str):
        name = _ALIASES.get(model, model)
        if name not in MODELS:
            raise IosimError(
                f"unknown model {model!r}{did_you_mean(model, MODELS)}: "
                f"choose one of {', '.join(MODELS)}"
            )
        model = MODELS[name]
    if not isinstance(model, Model):
        raise IosimError(
            f"{reprlib.repr(model)} is no model: give the name of one, see `iosim models`"
        )
    known = {field.name: field.type for field in dataclasses.fields(model)}
    for name in parameters:
        if name not in known:
            choices = ", ".join(known) or "none"
            raise IosimError(
                f"model {model.name!r} has no parameter {name!r}: its parameters are {choices}"
            )
    return dataclasses.replace(model, **parameters)


def models_of(models: object) -> list[Model]:
    """The models of a list of names, or of models themselves; raises IosimError."""
    if isinstance(models, str) or not isinstance(models, Collection) or not models:
        raise IosimError(f"models = {reprlib.repr(models)} must be a list of at least one model")
    return [get(model) for model in models]


def parameter(model: str | Model, name: str, value: Any) -> Any:
    """A model's parameter from what people write, read like the type of its default: `"50us"`,
    `"200"`. What the model does not know is left as it is, for `get` to refuse."""
    default = getattr(get(model), name, None)
    if name.endswith("_ns"):
        return parse_time(value)
    if isinstance(default, int):
        return parse_count(value)
    return value


def resolve(model: str | Model | Program) -> tuple[str, Program]:
    """Name and program of a model given by name, as an instance, or as a program of the user's."""
    if isinstance(model, str):
        model = get(model)
    if isinstance(model, Model):
        return model.name, model.program
    if not callable(model):
        raise IosimError(
            f"{reprlib.repr(model)} is no model: give the name of one, see `iosim models`, or a "
            "generator function that takes kernel and listener"
        )
    return name_of(model), model


__all__ = [
    "MODELS",
    "Aio",
    "Blocking",
    "BlockingPool",
    "BlockingSerial",
    "Epoll",
    "IoUring",
    "IoUringMultishot",
    "IoUringSqpoll",
    "Model",
    "Nonblocking",
    "NonblockingSleep",
    "Poll",
    "Rtsig",
    "Select",
    "Sigio",
    "get",
    "models_of",
    "parameter",
    "resolve",
]
