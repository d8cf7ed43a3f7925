"""Usage, meters, rates, prices and costs."""
