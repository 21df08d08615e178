"""Exports, and backtests of them in Spark."""
