"""What a store can do, found out by doing what a client does, and what follows from it for a person.

It is a face: nothing but the command line imports it. Whatever it makes in a bucket it removes again.
"""
