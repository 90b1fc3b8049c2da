"""Any source of motion becomes one data set folder: sources, build, checks, report."""
