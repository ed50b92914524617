"""`python -m benchmark` is `smartedit-bench`."""

from benchmark.cli import main

main()
