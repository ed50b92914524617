"""Makes weights as the miniature's that ship: from drawn scenes alone, by one seeded command."""
