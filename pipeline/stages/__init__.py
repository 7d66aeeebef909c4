"""One file for each make target; what one stage leaves, the next reads from its folder."""
