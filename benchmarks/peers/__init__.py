"""The networks that people would pick instead of ours, on the same clips."""
