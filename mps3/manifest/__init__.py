"""One manifest in this client: the task that polls, commits and publishes, and the writes that wait for it.

It does not know how users read and write keys: that is in the room above. The order of commits is decided by the
journal, in the room below.
"""
