"""What a job does, in its operator's words: one file a job."""
