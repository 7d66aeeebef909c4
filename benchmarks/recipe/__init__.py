"""What each step of our recipe is worth, by validation alone."""
