"""Files and labels as training and scoring read them."""
