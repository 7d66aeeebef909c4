"""What a list of words alone, and a few takes beside it, is worth on people."""
