"""The fields of a specification: what an axis can vary and a file can set, by name.

`model`, `kernel`, `profile`, `oversubscribe`, `machine.interference`, and those of the groups

- `param.*`: parameters of models, `workload.*`: fields of `Workload`,
- `machine.*` and `machine.nic.*`: fields of `Machine` and `Nic`,
- `costs.*`: a cost of the profile, replaced, `scale.*`: a cost, multiplied.

A unit at the end of a name may be left out: `workload.rate` is `workload.rate_per_s`.
"""

from __future__ import annotations

import dataclasses
import reprlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Annotated, Any

from pydantic import BaseModel, TypeAdapter, ValidationError

from iosim.checked import explain
from iosim.costs import ABOUT, MOST
from iosim.errors import IosimError, did_you_mean
from iosim.machine import Machine, Nic
from iosim.models import MODELS, get, parameter
from iosim.units import parse_bytes, parse_time
from iosim.workload import Workload

Value = str | int | float | bool | None
Values = Mapping[str, Value]
"""Values by the full names of their fields."""

Read = Callable[[Any], Value]
"""Turns what people write into the value; raises IosimError."""

KERNELS = ("simulated", "real")
SIMULATED_ONLY = ("profile", "oversubscribe", "machine.", "costs.", "scale.")
"""How the names of fields begin that mean nothing to a real run."""

_UNITS = ("_ns", "_bytes", "_per_s", "_bits_per_s")


def _model(value: Any) -> str:
    if not isinstance(value, str):
        raise IosimError(f"{value!r} is not the name of a model, see `iosim models`")
    return get(value).name


def _kernel(value: Any) -> str:
    if value not in KERNELS:
        raise IosimError(f"{value!r} is not a kernel: choose one of {', '.join(KERNELS)}")
    return str(value)


def _profile(value: Any) -> str:
    if not isinstance(value, str):
        raise IosimError(f"{value!r} is not the name of a cost profile, see `iosim profile list`")
    return value


def _flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise IosimError(f"{value!r} is neither true nor false")
    return value


def _part(model: type[BaseModel], name: str) -> Read:
    """Reads a field as its pydantic model does."""
    field = model.model_fields[name]
    kind: Any = Annotated[field.annotation, *field.metadata, None]
    adapter: TypeAdapter[Any] = TypeAdapter(kind)

    def read(value: Any) -> Any:
        try:
            return adapter.validate_python(value)
        except ValidationError as error:
            raise IosimError(explain(error)) from None

    return read


_read_service = _part(Workload, "service")


def _service(value: Any) -> Value:
    """The number of nanoseconds where it is constant, so that it can have a range."""
    service: Any = _read_service(value)
    return service.mean_ns if service.distribution == "constant" else str(service)


def _parameter(name: str) -> Read:
    owner = next(model for model in MODELS.values() if hasattr(model, name))

    def read(value: Any) -> Any:
        return parameter(owner, name, value)

    return read


def _cost(name: str) -> Read:
    def read(value: Any) -> float:
        if isinstance(value, str) and name.endswith("_ns"):
            return _amount(parse_time(value))
        if isinstance(value, str) and name.endswith("_bytes"):
            return _amount(parse_bytes(value))
        return _amount(value)

    return read


def _amount(value: Any) -> float:
    """A cost, or what one is multiplied by."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= MOST:
        raise IosimError(f"{value!r} is not a number between 0 and {MOST:g}")
    return float(value)


def _fields() -> dict[str, Read]:
    fields: dict[str, Read] = {"model": _model, "kernel": _kernel, "profile": _profile}
    parameters = {field.name for model in MODELS.values() for field in dataclasses.fields(model)}
    fields |= {f"param.{name}": _parameter(name) for name in sorted(parameters)}
    fields |= {f"workload.{name}": _part(Workload, name) for name in Workload.model_fields}
    fields["workload.service"] = _service
    parts = (name for name in Machine.model_fields if name not in ("nic", "interference"))
    fields |= {f"machine.{name}": _part(Machine, name) for name in parts}
    fields |= {"machine.interference": _flag, "oversubscribe": _flag}
    fields |= {f"machine.nic.{name}": _part(Nic, name) for name in Nic.model_fields}
    fields |= {f"costs.{name}": _cost(name) for name in ABOUT}
    return fields | {f"scale.{name}": _amount for name in ABOUT}


FIELDS: Mapping[str, Read] = _fields()


_DEEPEST = 1 + max(name.count(".") for name in FIELDS)
"""So many tables may lie in one another."""


def full_name(name: str) -> str | None:
    """The field of that name, which may lack its unit; None if there is none."""
    return next((full for end in ("", *_UNITS) if (full := name + end) in FIELDS), None)


def read(name: str, value: Any) -> Value:
    """The value of a field as people write it; `name` is the full one."""
    try:
        found = FIELDS[name](value)
    except IosimError as refusal:
        raise IosimError(f"{name}: {refusal}") from None
    if not isinstance(found, Value):
        raise IosimError(f"{name}: {reprlib.repr(value)} is neither text nor a number")
    return found


def read_all(table: Mapping[str, Any]) -> dict[str, Value]:
    """The values of a table of fields, by full names."""
    values: dict[str, Value] = {}
    for name, value in flat(table):
        if name in values:
            raise IosimError(f"{name} is set twice, with its unit and without: remove one")
        values[name] = read(name, value)
    return values


def flat(table: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Full names and unread values of a table of TOML, whether it nests or writes out dots."""
    for key, value in table.items():
        written = f"{prefix}{key}"
        name = full_name(written)
        if name is not None:
            yield name, value
        elif isinstance(value, Mapping) and written.count(".") < _DEEPEST:
            yield from flat(value, f"{written}.")
        else:
            raise unknown(written)


def unknown(name: str, known: Sequence[str] = ()) -> IosimError:
    """The refusal of a name."""
    group = name.rpartition(".")[0]
    short = (one.removesuffix(end) for one in FIELDS for end in _UNITS if one.endswith(end))
    near = did_you_mean(name, known or [*FIELDS, *short])
    same = [one for one in FIELDS if one.rpartition(".")[0] == group]
    choices = known or same or sorted({one.rpartition(".")[0] or one for one in FIELDS})
    return IosimError(f"there is no field {name!r}{near}: choose one of {', '.join(choices)}")
