"""Importing this makes sure that the package is whole, before a module is imported that may be another library's.

Modules that only this library has import it first: see ``_installation.require_whole``.
"""

from __future__ import annotations

from ._installation import require_whole

require_whole()
