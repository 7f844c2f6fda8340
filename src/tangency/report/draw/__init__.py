"""The drawing kit: figures for papers, pictures as pixels."""
