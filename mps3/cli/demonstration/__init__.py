"""The two shows of ``mps3 demo``: a game on a terminal, and a transcript anywhere else."""
