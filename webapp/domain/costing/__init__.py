"""The price calculator, workloads, and sanity checks of prices."""
