"""Published settings as TOML files, one a preset."""
