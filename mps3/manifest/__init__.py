"""One manifest in this client: the task that polls, commits and publishes, and the writes that wait for it.

Which keys users ask for, and how, is the business of the room above.
In which order commits count is that of the journal.
"""
