"""Usage, meters, rates, prices and the cost that follows from them."""
