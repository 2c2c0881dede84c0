"""What lies in the bucket: documents, entries, runs and states, as bytes and as values.

All of it is pure: no I/O, no clock, no randomness. It may import `mps3.errors`,
`mps3.types` and libraries for JSON only.
"""
