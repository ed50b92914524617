"""Tables of what the factory knows of the world."""
