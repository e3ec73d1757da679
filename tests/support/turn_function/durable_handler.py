"""The same service's durable function."""

from __future__ import annotations

from handler import service

handler = service.durable_handler()
