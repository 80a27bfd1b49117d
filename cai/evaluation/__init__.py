"""How good a trained model is: figures that can be compared."""
