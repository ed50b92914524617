"""How the shipped weights of the miniature were made: from drawn scenes alone, by one seeded command."""
