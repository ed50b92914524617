"""Pages of the audit and of the contact sheet."""
