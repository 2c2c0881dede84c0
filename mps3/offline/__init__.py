"""What outlives the process: the outbox, the sessions, and the cache of what was seen.

`offline/protocol.py` says what the manifests want of it; `offline/directory.py` is the one that users get.
Nothing here talks to a store.
"""
