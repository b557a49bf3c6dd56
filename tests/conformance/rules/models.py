"""What every model of the library must survive."""

from __future__ import annotations

from typing import Any

from conformance.scenario import REPLY_BYTES, REQUEST_BYTES, scenario

from iosim.kernel import Call
from iosim.models import MODELS

NEVER_AT_REST = {"nonblocking", "nonblocking-sleep"}
"""Programs that never sleep for good leave no moment for the clients' steps."""


def a_client_resets(model: str) -> None:
    """Register a scenario: a client is reset while its reply is sent, the next one is served."""

    def program(kernel: Any, listener: int) -> Call[None]:
        yield from MODELS[model].program(kernel.quiet, listener)

    program.__name__ = f"a_client_resets_{model.replace('-', '_')}"
    scenario(
        'send(2): "The EPIPE error is still returned" with MSG_NOSIGNAL if the peer has closed the '
        "connection; send(2), ERRORS: ECONNRESET, connection reset by peer.",
        lambda client: client.connect(),
        lambda client: client.send(0, REQUEST_BYTES),
        lambda client: client.abort(0),
        lambda client: client.connect(),
        lambda client: client.abort(1),
        lambda client: client.connect(),
        lambda client: client.send(2, REQUEST_BYTES),
        lambda client: client.recv(2, REPLY_BYTES),
        expect=f"client: recv(2, {REPLY_BYTES}) = {REPLY_BYTES}",
        needs=model,
    )(program)


for _model in MODELS:
    if _model not in NEVER_AT_REST:
        a_client_resets(_model)
