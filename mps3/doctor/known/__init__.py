"""What is known of stores: one JSON file a store, by trial or by documentation, and the code that reads these files.

`nox -s store` writes the results of a trial into the file of the store. The table on the page about providers is
made of these files. Nothing here makes a request, and no client depends on it: a client tests what it needs.
"""
