"""What a number means: the metrics, their statistics, the controls' verdict."""
