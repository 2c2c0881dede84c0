"""Hooks for what people watch their programs with: `mps3.instrument.logging` and `mps3.instrument.opentelemetry`."""
