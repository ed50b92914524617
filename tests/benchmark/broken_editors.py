"""A module of somebody else that cannot be imported."""

raise RuntimeError("a module that stops while it is imported")
