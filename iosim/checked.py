"""What every description of a run is: frozen fields, checked whenever one is made."""

from __future__ import annotations

import reprlib
from collections.abc import Mapping
from typing import Any, Self, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from iosim.errors import IosimError

_Kind = TypeVar("_Kind")


def expect(kind: type[_Kind], value: object, what: str) -> _Kind:
    """The value, if it is of that type; raises IosimError with `what` it is for, if not."""
    if not isinstance(value, kind):
        raise IosimError(f"{what} = {reprlib.repr(value)} must be an iosim.{kind.__name__}")
    return value


class Checked(BaseModel):
    """Fields that take values as users write them."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    @classmethod
    def of(cls, **values: object) -> Self:
        """One from values as users write them; raises IosimError with every mistake."""
        try:
            return cls(**values)
        except ValidationError as error:
            raise IosimError(explain(error)) from None

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """A copy with some fields changed. Unlike pydantic's it is checked: a value that has never
        been would otherwise come to light somewhere in a run. Raises IosimError."""
        values = {name: getattr(self, name) for name in type(self).model_fields}
        return self.of(**values | dict(update or {}))


def explain(error: ValidationError) -> str:
    """All mistakes of a pydantic error in one line."""
    return "; ".join(
        (f"{'.'.join(map(str, item['loc']))}: " if item["loc"] else "")
        + item["msg"].removeprefix("Value error, ")
        + (f", got {item['input']!r}" if item["type"] != "value_error" else "")
        for item in error.errors()
    )
