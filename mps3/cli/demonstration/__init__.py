"""What ``mps3 demo`` shows: a game on a terminal, and a transcript elsewhere."""
