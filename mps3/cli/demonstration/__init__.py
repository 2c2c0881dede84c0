"""What ``mps3 demo`` shows."""
