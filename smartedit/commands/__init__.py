"""The subcommands of `smartedit`, one typer application a file."""
