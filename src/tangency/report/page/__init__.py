"""Pages: the context of every section, rendered with everything inlined."""
