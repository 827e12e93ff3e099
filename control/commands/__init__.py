"""The commands of `python -m control`, a module for those that belong together."""
