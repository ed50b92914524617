"""Judges that estimate Ins-align and know what they are."""
