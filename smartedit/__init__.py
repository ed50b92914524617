"""SmartEdit: data, tools, synthesis, model, training, inference and the miniature world."""

__version__ = "0.1.0"
