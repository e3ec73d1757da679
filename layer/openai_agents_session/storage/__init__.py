"""The storage engine: how one session lies in a table, and the one way it changes."""
