"""The parts of the HTML report: page, styles and scripts, inlined into one file."""
