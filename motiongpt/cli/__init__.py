"""What the scripts share: flags, environment variables, opening runs and data sets, the life of a training stage."""
