"""The one home of words about results."""
