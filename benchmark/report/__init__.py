"""Reports of a run: tables, plots, gallery and figures."""
