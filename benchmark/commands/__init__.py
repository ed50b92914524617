"""The subcommands of `smartedit-bench`, one typer application a file."""
