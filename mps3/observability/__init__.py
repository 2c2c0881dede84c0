"""What a client reports: events, statistics, and the hooks for logging and OpenTelemetry.

Events carry plain values, never objects of the rooms above. Nothing here decides anything.
"""
