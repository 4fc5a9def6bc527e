"""Where a cluster's partitions are, where they should be, and how they get there while it is in use."""
