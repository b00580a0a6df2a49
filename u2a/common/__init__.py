"""What every room may use: files, seeds, processes, the terminal. Nothing that knows what u2a is about."""
