"""The whole client in a hostile world: virtual time, one seed, one history.

``python -m tests.simulation SEED`` replays one history and prints all that happened.
"""
