"""Saved classifiers: opened by reference, named, and checked before they are measured."""
