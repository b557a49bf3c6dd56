"""Turn the texts of options into models, cost profiles and machines."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from iosim.calibrate import cache
from iosim.cli.output import warn_of
from iosim.errors import IosimError, did_you_mean
from iosim.machine import Machine, Nic
from iosim.models import Model, get, parameter

_WHOLE = re.compile("[0-9]{1,30}", re.ASCII)


def model(name: str, parameters: list[str] | None) -> Model:
    """A model with its parameters set from NAME=VALUE texts, read like the default's type."""
    values: dict[str, Any] = {
        key: _parameter(name, key, value)
        for key, value in _pairs("--param", parameters, "threads=20")
    }
    return get(name, **values)


def _parameter(model: str, name: str, text: str) -> Any:
    try:
        return parameter(model, name, text)
    except IosimError as refusal:
        raise IosimError(f"--param {name}={text}: {refusal}") from None


def nic(link: str | None, parameters: list[str] | None) -> Nic | None:
    """A card on a link of that speed, with parameters set; None if neither is given."""
    if link is None and not parameters:
        return None
    values = {} if link is None else {"link_bits_per_s": link}
    for key, value in _pairs("--nic-param", parameters, "coalesce_ns=20us"):
        if key not in Nic.model_fields:
            raise IosimError(
                f"a network card has no parameter {key!r}: its parameters are "
                f"{', '.join(Nic.model_fields)}"
            )
        if key in values:
            raise IosimError(
                f"--nic-param {key}={value}: {key} is already {values[key]}; say which"
            )
        values[key] = value
    return Nic.of(**values)


def _pairs(option: str, texts: list[str] | None, example: str) -> Iterator[tuple[str, Any]]:
    """Names and values from NAME=VALUE texts. A name that ends with the unit says what a plain
    number counts: `idle_ns=100000` is `idle_ns=100us`."""
    for text in texts or []:
        key, equals, value = text.partition("=")
        if not equals:
            raise IosimError(f"{option} {text!r}: write it as NAME=VALUE, for example {example}")
        yield key, int(value) if key.endswith("_ns") and _WHOLE.fullmatch(value) else value


def profile(name: str | None) -> cache.Found:
    """The cost profile of that name; a warning names how the host of a file differs from this."""
    found = cache.find(name)
    if found.file is not None:
        warn_of(found)
    return found


def machine(machine: Machine, settings: list[str]) -> Machine:
    """The machine with its fields, or those of its `nic`, set from FIELD=VALUE texts."""
    values: dict[str, Any] = machine.model_dump()
    for name, value in _pairs("--machine", settings, "memory_bytes=64GiB"):
        part, dot, field = name.rpartition(".")
        known = [*Machine.model_fields, *(f"nic.{field}" for field in Nic.model_fields)]
        if name not in known:
            raise IosimError(
                f"a machine has no field {name!r}{did_you_mean(name, known)}: "
                f"its fields are {', '.join(known)}"
            )
        if dot:
            values[part] = (values[part] or {}) | {field: value}
        else:
            values[field] = value
    try:
        return Machine.of(**values)
    except IosimError as refusal:
        raise IosimError(f"--machine: {refusal}") from None
