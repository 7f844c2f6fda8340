"""What commands print: results in tables and words."""
