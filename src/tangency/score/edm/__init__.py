"""The networks of Karras et al. (2022), and their files."""
