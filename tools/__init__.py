"""How the default model is made: the scene renderer and the detector's training."""
