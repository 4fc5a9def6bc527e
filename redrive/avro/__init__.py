"""Avro, strictly: parsing schemas, checking values, encoding and decoding. fastavro does the bytes."""
