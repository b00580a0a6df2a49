"""From the disk to the batch: storage, shards, reading and packing, feeding and inspection. No model here."""
