"""Words around an instruction as TOML files, one a set (`smartedit.model.prompts`)."""
