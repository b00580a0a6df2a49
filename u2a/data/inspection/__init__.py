"""Looking at a data set: findings and the gallery. Nothing here changes data."""
