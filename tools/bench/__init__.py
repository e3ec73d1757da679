"""What a turn costs with this library and with others, measured on the wire: ``make bench``.

``workloads`` and ``prose`` make the conversations, ``contenders`` says who takes part, ``workers`` holds each
contender's turn (run in an environment of its own), ``runner`` plays a conversation through a metering proxy,
``report`` and ``chart`` turn the measurements into docs/bench.md and docs/bench.svg.
"""
