"""The exam that a server takes: everything that a client does with a store, in each kind of bucket that it has.

Its result is a document that says what was found, and ``problems``, which has to be empty: a store on which the doctor
says *ready* works, and another one is refused.
"""
