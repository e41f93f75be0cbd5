"""`python -m readside` is the `readside` command."""

from readside.cli import main

main()
