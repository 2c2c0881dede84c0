"""Durable state on this machine: outboxes with the writes of sessions, and a cache.

`offline/protocol.py` is the interface for manifests; `offline/directory.py` implements it. Nothing here sends
a request.
"""
