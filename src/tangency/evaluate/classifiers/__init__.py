"""Saved classifiers: opened by reference, named, and looked at before they are measured."""
