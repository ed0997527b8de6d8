"""Pure functions of tensors: no Keras, no state."""
