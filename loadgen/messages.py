"""The names of what master and workers say to each other over Locust's channel, and what each message holds."""

ROWS = "swarmscope-rows"
"""Worker -> master: `shipping.Batch`; `sent_at`: epoch seconds by the worker's clock."""
ACKNOWLEDGE = "swarmscope-acknowledge"
"""Master -> worker: `run_id`, `through`: all batches up to this number are here."""
DRAIN = "swarmscope-drain"
"""Master -> worker: stop and hand everything over; `run_id`, `hurry`: give up open requests."""
DRAINED = "swarmscope-drained"
"""Worker -> master: no user is left; `run_id`, `rows`: how many it sent in that run, `reopened_connections`,
`complaints`: texts for the manifest's warnings."""
LIVE = "swarmscope-live"
"""Worker -> master, twice a second: `live.Report`. One that is lost is missing in the live figures and nowhere else."""
ALL_SENT = "swarmscope-all-sent"
"""Worker -> master: all messages of the profile have been answered."""

PLAN = "swarmscope_plan"
"""The plan's place among Locust's parsed options: those are what a worker gets with the start of a test."""
