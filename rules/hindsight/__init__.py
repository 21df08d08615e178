"""All of the stored history, judged again: backtest and verify."""
