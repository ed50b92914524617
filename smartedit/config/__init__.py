"""Configuration: frozen dataclasses, TOML presets, and one precedence rule (defaults < preset or file < --set)."""
