"""Classifiers that others wrote: their files read, their architecture rebuilt, their input found."""
