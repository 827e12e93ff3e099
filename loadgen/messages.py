"""The names of what master and workers say to each other over Locust's channel, and what each message holds."""

ROWS = "swarmscope-rows"
"""Worker -> master: `shipping.Batch`; `sent_at`: epoch seconds by the worker's clock."""
ACKNOWLEDGE = "swarmscope-acknowledge"
"""Master -> worker: `run_id`, `through`: all batches up to this number are here."""
DRAIN = "swarmscope-drain"
"""Master -> worker: stop and hand everything over; `run_id`, `hurry`: give up open requests."""
DRAINED = "swarmscope-drained"
"""Worker -> master: no user is left; `run_id`, `rows`: how many it sent in that run, `reopened_connections`,
`date_offset`: see `server_clock.ServerClock`, None where no answer had a date, `complaints`: texts for the manifest's
warnings, `failure`: why its users could not send, None where they could."""
LIVE = "swarmscope-live"
"""Worker -> master, twice a second: `live.Report`. One that is lost is missing in the live figures and nowhere else."""

ROWS_WANTED = "swarmscope-rows-wanted"
"""Worker -> master: `run_id`, `payload`, `number`, `wanted`: see `leases.Question`."""
ROWS_LEASED = "swarmscope-rows-leased"
"""Master -> worker: `run_id`, `payload`, `number`, `pieces`, `exhausted`: the answer to that question."""
ROWS_RETURNED = "swarmscope-rows-returned"
"""Worker -> master: `run_id`, `payload`, `pieces`: leased and not used."""
OUT_OF_ROWS = "swarmscope-out-of-rows"
"""Worker -> master: `run_id`: its flow custom has nothing left to send."""

PLAN = "swarmscope_plan"
"""The plan's place among Locust's parsed options: those are what a worker gets with the start of a test."""
