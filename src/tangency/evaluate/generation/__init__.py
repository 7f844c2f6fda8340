"""Generated pictures, rated: from pictures to rows and numbers, for saved models and for studies."""
