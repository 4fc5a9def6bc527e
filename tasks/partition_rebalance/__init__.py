"""The steps of moving partitions."""
