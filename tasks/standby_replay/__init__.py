"""The steps of a standby replay."""
