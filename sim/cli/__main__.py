"""`python -m sim.cli`, the command where no script is installed."""

from sim.cli.entry import main

main()
