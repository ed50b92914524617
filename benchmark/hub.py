"""Whether a host of weights can be reached; the layer below asks the same question for its own models."""

from smartedit.hub import answers, hub_answers, told_offline

__all__ = ["answers", "hub_answers", "told_offline"]
