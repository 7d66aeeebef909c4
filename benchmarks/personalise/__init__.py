"""What one take of each word is worth to a speaker that no training has heard."""
