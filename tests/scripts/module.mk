# Checks of the source tree and of what a run leaves.
