"""Versions of a function that are made for an experiment and taken back after it, whatever happens meanwhile.

`journal` notes every change before it is made; `versions` has what any experiment does on the control plane; `place`
says where the function is; `taking_back` does so in the end of a run, and later for a run that was killed.
"""
