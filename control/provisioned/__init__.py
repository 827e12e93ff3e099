"""What provisioned concurrency is worth: the same load with it, without it, and with a warmer."""
