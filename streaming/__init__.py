"""Makes growing files, cameras and channels into an async stream of frames."""
