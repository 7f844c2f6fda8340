"""One reader for each layout of images on disk."""
