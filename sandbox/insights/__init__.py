"""Logs Insights: a useful subset of the query language, executed by DuckDB over the sandbox's log store.

`syntax` reads a query, `compiler` writes it as SQL (`fields` knows what Logs Insights discovers in an event,
`functions` what can be called, `values` how typed values compare and are shown), `engine` runs it.
"""
