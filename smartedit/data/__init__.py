"""Training data: manifests, mixture and audit."""
