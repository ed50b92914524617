"""SmartEdit's modules (paper, section 4)."""
