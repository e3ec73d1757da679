"""What a turn of a session costs."""

from __future__ import annotations

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from ..layout import unbroken
from ..pricing import TurnCost
from ..words import many, size


def cost(turn: TurnCost, read_price: float, write_price: float) -> RenderableType:
    """What a turn costs."""
    table = Table(box=None, header_style="bold", pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column("A TURN NOW", overflow="fold")
    for name in ("WARM", "COLD"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_row("read units", f"{turn.read_units_warm:,.1f}", f"{turn.read_units_cold:,.1f}")
    appended = f"{turn.appends * turn.append_write_units:,.1f}"
    table.add_row(f"write units, {many(turn.appends, 'append')}", appended, appended)
    sealing = f"{turn.sealing_write_units:,.1f}"
    table.add_row("write units, sealing and merging (estimate)", sealing, sealing)
    table.add_row(
        Text("dollars for 1,000 turns", style="bold"),
        Text(f"${turn.dollars_warm:,.4f}", style="bold"),
        Text(f"${turn.dollars_cold:,.4f}", style="bold"),
    )
    notes = (
        f"storage {size(turn.storage_bytes)}; ${read_price:g} a million read units, ${write_price:g} a million write "
        "units. Warm: the process has the parts cached."
    )
    title = Text.assemble("session ", unbroken(turn.session_id, "bold"), no_wrap=True, overflow="ignore")
    return Group(title, "", table, "", Text(notes, style="dim", overflow="fold"))
