"""From features to a bundle: towers, ranker, evaluation, export. Sees only the pure modules of services."""
