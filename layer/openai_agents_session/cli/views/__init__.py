"""What an operator sees: values in, rich renderables out. Nothing here does I/O or asks what time it is."""

from __future__ import annotations

from .checks import plan, repairs, survey
from .conversation import Turns, conversation
from .costs import cost
from .sessions import erased, imported, listing, spent, stored_bytes, to_erase
from .usage import described, forked, redacted, usage

__all__ = [
    "Turns",
    "conversation",
    "cost",
    "described",
    "erased",
    "forked",
    "imported",
    "listing",
    "plan",
    "redacted",
    "repairs",
    "spent",
    "stored_bytes",
    "survey",
    "to_erase",
    "usage",
]
