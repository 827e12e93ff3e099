"""What would go wrong in a run, found before it costs money.

    what was asked for -> demand (what the profile needs, pure) \\
    target             -> facts (asked by `gather`)              > checks (facts -> rows, pure) -> table, JSON
    last run           -> measured (durations, quantities)      /

Each check is a function of its own in `access`, `functions`, `capacity`, `generator` and `expense`; docs/preflight.md
explains every row.
"""
