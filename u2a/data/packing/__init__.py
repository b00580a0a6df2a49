"""From a person's tables and files to shards. Training never needs it."""
