"""What saved models are: measured, compared, judged by what their gradients make; no spec of a study is needed."""
