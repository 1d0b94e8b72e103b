"""Training and searches of hyper-parameters, and what they keep."""
