"""The command line of nlmeans."""
