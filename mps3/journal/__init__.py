"""How the commits of one manifest get their order, and what they made of it: the state, and the past.

`journal/protocol.py` says what a journal does; `log/` and `merge/` are the two.
Nothing here knows what users call a key, or that anybody subscribes.
"""
