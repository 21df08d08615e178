"""All of the stored history, judged once more: backtest and verify."""
