"""What a person looks at: pages that ask no other host for anything, and tables."""
