"""The store under a simulated DynamoDB, a turned clock and a seeded scheduler, judged write by write.

::

    scenario + seed
        |
      world ---- actors ---- sessions, leases, turns, runs of the library, and the reference library's writer
        |           |
        |         wire       requests take time, get lost, are late, refused, sent twice; writers are killed
        |           |
        '-------- table      DynamoDB's rules, strictly: conditions, sizes, TTL, eventually consistent reads
                    |
                  oracle     decodes the history at every write, and asks: which operation may have made that?

Nothing sleeps: the clock jumps to the next event. The same scenario and seed give the same run, event for event.
``python -m tests.simulation`` makes long runs; ``tests/unit/test_simulation.py`` is the sample of them that CI runs.

What depends on the library's internals stands in three files: ``internals`` (virtual time, randomness, how stored items
are decoded), ``mutants`` (lines that are broken on purpose), and the names of its modules nowhere else.
"""
