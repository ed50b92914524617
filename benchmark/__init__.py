"""The measurement: methods, metrics, protocols, judges, statistics and reports on Reason-Edit."""
