"""`python -m tangency` is the command line."""

from tangency.cli import main

main()
