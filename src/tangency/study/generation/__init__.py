"""A study's entries of `generate:`: what they ask for, their pictures on disk, and what the summary says of them."""
