"""The command line: one file a command. Nothing else imports this package, and it alone knows typer and rich."""
