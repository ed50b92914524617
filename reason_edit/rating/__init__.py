"""Ins-align: the human study, from blind sheets to means with intervals."""
