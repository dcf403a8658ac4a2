"""Street scenes: lists of panoramas, street views with the pose in their names, picked point pairs."""
