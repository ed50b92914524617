"""The miniature world: drawn scenes, written as files in the public formats."""
