"""What everything takes, as ratios within one run: `make bench`."""
