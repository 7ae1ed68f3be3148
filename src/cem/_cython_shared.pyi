# What the compiled modules share of Cython's own code; setup.py has it written. Nothing here is for callers.
