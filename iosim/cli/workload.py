"""The options that make a workload. A command takes them all as one argument."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import wraps
from typing import Annotated, Any

import typer

from iosim.workload import Workload


def _workload(
    *,
    connections: Annotated[str, typer.Option(help="Open connections.", show_default=False)] = "64",
    connect_gap: Annotated[
        str, typer.Option(help="Pause before each connection is opened: `1ms`.")
    ] = "0",
    active: Annotated[
        str | None, typer.Option(help="How many carry requests: `100` or `10%`; all.")
    ] = None,
    rate: Annotated[
        str, typer.Option(help="Requests per second over all connections: `20k/s`.")
    ] = "10k/s",
    arrivals: Annotated[
        str,
        typer.Option(help="`poisson`, `even`, `bursty` (see --burst), or `closed` (see --think)."),
    ] = "poisson",
    burst: Annotated[str, typer.Option(help="Requests in a burst, with bursty arrivals.")] = "16",
    think: Annotated[
        str, typer.Option(help="Closed loop: pause from a reply to the next request.")
    ] = "0",
    request: Annotated[str, typer.Option(help="Size of a request: `64`, `4KiB`.")] = "64",
    reply: Annotated[str, typer.Option(help="Size of a reply.")] = "64",
    service: Annotated[
        str, typer.Option(help="Computing per request: `5us`, or a mean: `exponential(5us)`.")
    ] = "0",
    requests: Annotated[str, typer.Option(help="Requests in the run: `100k`.")] = "20k",
) -> Workload:
    return Workload.of(
        connections=connections,
        connect_gap_ns=connect_gap,
        active=active,
        rate_per_s=rate,
        arrivals=arrivals,
        burst=burst,
        think_ns=think,
        request_bytes=request,
        reply_bytes=reply,
        service=service,
        requests=requests,
    )


_OPTIONS = inspect.signature(_workload, eval_str=True).parameters


def workload_options(**defaults: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a command the options of a workload in the place of its keyword-only `workload`.

    `defaults` are those of this command, by option, where it has its own.
    """

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        @wraps(command)
        def with_options(**values: Any) -> None:
            load = _workload(**{name: values.pop(name) for name in _OPTIONS})
            command(**values, workload=load)

        parameters = []
        for parameter in inspect.signature(command, eval_str=True).parameters.values():
            if parameter.name == "workload":
                parameters += [
                    option.replace(default=defaults.get(name, option.default))
                    for name, option in _OPTIONS.items()
                ]
            else:
                parameters.append(parameter)
        # typer reads a command's options from its signature
        with_options.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        return with_options

    return decorate
