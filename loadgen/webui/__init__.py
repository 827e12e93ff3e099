"""What Locust's web UI gets from us: fields in the start form, a login, a tab with live figures, finished analyses."""
