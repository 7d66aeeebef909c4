"""Where sound comes from: recordings, a public data set or a synthesiser, all described by one manifest."""
