"""The steps of scaling a fleet of brokers."""
