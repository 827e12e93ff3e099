"""Memory tuning: what a function's memory does to its duration and its cost, and which is best."""
