"""Where a picture of a place comes from: the user's own folder, an online service with a key, or the city."""
