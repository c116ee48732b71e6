"""What the notebooks, the scripts and the tests share. Importing any of it does no work."""
