"""``python -m u2a``, which is also what ``torchrun -m u2a train RECIPE`` starts."""

from u2a.cli.main import main

main()
