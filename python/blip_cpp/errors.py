"""What can go wrong."""

from __future__ import annotations


class BlipError(Exception):
    """The only exception of the engine; its message is one sentence.

    `code` is who can mend it: "usage", "not_found", "io", "bad_model", "unsupported", "bad_image", "too_large",
    "cancelled" or "internal".
    """

    def __init__(self, message: str, code: str = "usage") -> None:
        super().__init__(message, code)
        self.message = message
        self.code = code

    def __str__(self) -> str:
        return self.message

    def __repr__(self) -> str:
        return f"BlipError({self.message!r}, {self.code!r})"
