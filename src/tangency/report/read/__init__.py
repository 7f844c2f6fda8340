"""What is read from run directories and from folders of measured models."""
