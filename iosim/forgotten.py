"""Calls that a program makes and does not wait for: `kernel.send(fd, 64)` without `yield from`.

Such a call never runs, and Python drops it in silence. Its byte code tells: what a call of the
kernel gives is thrown away, tested or compared at once, where `yield from` would take it.
"""

from __future__ import annotations

import dis
import inspect
from collections.abc import Iterator
from types import CodeType
from typing import Any

from iosim.kernel import Kernel

_CALLS = frozenset(
    name
    for name, call in vars(Kernel).items()
    if "Call[" in str(getattr(call, "__annotations__", {}).get("return", ""))
)
_LOOKS = {"LOAD_ATTR", "LOAD_METHOD"}
_DROPS = ("POP_TOP", "POP_JUMP", "TO_BOOL", "COMPARE_OP", "UNARY_NOT", "BINARY_OP")


def forgotten(program: Any) -> str | None:
    """Where a program, or a function that it mentions, drops a call; None if nowhere."""
    codes = list(_codes(program, set()))
    kernels = {code.co_varnames[0] for code in codes if code.co_argcount} - {"self"}
    for code in codes:
        for name, line in _dropped(code, kernels):
            return f"line {line} calls {name}() without `yield from`, so that it is never made"
    return None


def _codes(function: Any, seen: set[CodeType]) -> Iterator[CodeType]:
    """The code of a function, of those inside it, and of those of its module that it names."""
    function = inspect.unwrap(getattr(function, "func", function))
    code = getattr(function, "__code__", None)
    if not isinstance(code, CodeType) or code in seen:
        return
    todo = [code]
    while todo:
        code = todo.pop()
        seen.add(code)
        yield code
        todo += [inner for inner in code.co_consts if isinstance(inner, CodeType)]
        known = getattr(function, "__globals__", {})
        for name in code.co_names:
            if inspect.isfunction(known.get(name)):
                yield from _codes(known[name], seen)


def _dropped(code: CodeType, kernels: set[str]) -> Iterator[tuple[str, int]]:
    """Calls of the kernel, under any of these names, whose result is dropped: names and lines."""
    began: dict[tuple[Any, Any], str] = {}
    previous = None
    for now in dis.get_instructions(code):
        place = now.positions
        on_kernel = previous is not None and previous.argval in kernels
        if on_kernel and place is not None and now.opname in _LOOKS and now.argval in _CALLS:
            began[place.lineno, place.col_offset] = str(now.argval)
        if previous is not None and previous.opname.startswith("CALL"):
            at = previous.positions
            name = began.get((at.lineno, at.col_offset)) if at is not None else None
            if name is not None and now.opname.startswith(_DROPS):
                yield name, int(at.lineno or 0)  # type: ignore[union-attr]
        previous = now
