"""What a classifier's gradients make, judged: pictures to rows and numbers, for saved models and for studies."""
